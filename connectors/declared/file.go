package declared

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/stock"
)

// MaxFile bounds a file, in bytes.
const MaxFile = 1 << 20

// File is a system as a file declares it. docs/declared.md says what each field means.
type File struct {
	Name  string           `yaml:"name"`
	Title string           `yaml:"title"`
	Role  connectors.Role  `yaml:"role"`
	Basis stock.Basis      `yaml:"basis"`
	Class connectors.Class `yaml:"class"`

	Batch             int      `yaml:"batch"`
	RequestsPerSecond float64  `yaml:"requests_per_second"`
	ReadLag           duration `yaml:"read_lag"`
	OrderOverlap      duration `yaml:"order_overlap"`
	RetryHorizon      duration `yaml:"retry_horizon"`
	MaxQuantity       int64    `yaml:"max_quantity"`
	ShowsGross        bool     `yaml:"shows_gross"`

	Guide    guide     `yaml:"guide"`
	Settings []setting `yaml:"settings"`
	// Common goes with every request; Auth with those that need it.
	Common  common           `yaml:"common"`
	Auth    auth             `yaml:"auth"`
	Answers answers          `yaml:"answers"`
	Status  map[string]class `yaml:"statuses"`

	Operations operations `yaml:"operations"`
	// named are those of the operations that stand in the file.
	named   []*operation
	Webhook *webhook `yaml:"webhook"`

	Examples []Example `yaml:"examples"`
	Pretend  *pretend  `yaml:"pretend"`
	// Skip names cases of the conformance suite that the system cannot pass, each with the reason.
	Skip map[string]string `yaml:"skip"`
}

type guide struct {
	Versions string   `yaml:"versions"`
	Setup    []string `yaml:"setup"`
	Scopes   []string `yaml:"scopes"`
	Limits   []string `yaml:"limits"`
	Can      []string `yaml:"can"`
	Cannot   []string `yaml:"cannot"`
	Unproven []string `yaml:"unproven"`
}

type setting struct {
	Name     string `yaml:"name"`
	Help     string `yaml:"help"`
	Default  string `yaml:"default"`
	Required bool   `yaml:"required"`
	Secret   bool   `yaml:"secret"`
}

type common struct {
	Headers *template `yaml:"headers"`
	Query   *template `yaml:"query"`
	Form    *template `yaml:"form"`
}

type auth struct {
	Basic *basicAuth `yaml:"basic"`
	Token *tokenAuth `yaml:"token"`
	Sign  *sign      `yaml:"sign"`
}

type basicAuth struct {
	User     *template `yaml:"user"`
	Password *template `yaml:"password"`
}

type tokenAuth struct {
	// Request gets a token; Refresh, where set, is tried first once a refresh token is known.
	Request *request `yaml:"request"`
	Refresh *request `yaml:"refresh"`

	Access       *expression `yaml:"access_token"`
	RefreshToken *expression `yaml:"refresh_token"`
	ExpiresIn    *expression `yaml:"expires_in"`
	RenewBefore  duration    `yaml:"renew_before"`
}

type sign struct {
	Scheme string    `yaml:"scheme"`
	Secret *template `yaml:"secret"`
	Of     string    `yaml:"of"`
	Into   string    `yaml:"into"`
	Sorted *sorted   `yaml:"sorted"`
}

type sorted struct {
	Hash      string `yaml:"hash"`
	Equals    string `yaml:"equals"`
	Between   string `yaml:"between"`
	Secret    string `yaml:"secret"`
	SkipEmpty bool   `yaml:"skip_empty"`
	Upper     bool   `yaml:"upper"`
}

type request struct {
	Method  string    `yaml:"method"`
	Path    *template `yaml:"path"`
	Headers *template `yaml:"headers"`
	Query   *template `yaml:"query"`
	Form    *template `yaml:"form"`
	JSON    *template `yaml:"json"`
}

type answers struct {
	OK        *expression      `yaml:"ok"`
	Code      *expression      `yaml:"code"`
	Message   *expression      `yaml:"message"`
	Codes     map[string]class `yaml:"codes"`
	Otherwise *class           `yaml:"otherwise"`
}

// class says what a code or a status means.
type class struct {
	Kind    connectors.ErrorKind `yaml:"kind"`
	Message string               `yaml:"message"`
	Wait    duration             `yaml:"wait"`
	// RenewToken is set where the token was refused and another may be taken.
	RenewToken bool `yaml:"renew_token"`
}

type operations struct {
	Check     *operation `yaml:"check"`
	Locations *operation `yaml:"locations"`
	Items     *operation `yaml:"items"`
	Levels    *operation `yaml:"levels"`
	Movements *operation `yaml:"movements"`

	Order       *operation `yaml:"order"`
	CreateOrder *operation `yaml:"create_order"`
	CancelOrder *operation `yaml:"cancel_order"`
	AmendOrder  *operation `yaml:"amend_order"`
	OrderStatus *operation `yaml:"order_status"`

	Listings      *operation `yaml:"listings"`
	ReadStock     *operation `yaml:"read_stock"`
	WriteStock    *operation `yaml:"write_stock"`
	Orders        *operation `yaml:"orders"`
	WriteShipment *operation `yaml:"write_shipment"`
}

type operation struct {
	Request *request `yaml:"request"`
	Paging  *paging  `yaml:"paging"`
	Windows *windows `yaml:"windows"`
	// Rows are those of a list; Result is the one value of an operation that is no list.
	Rows     *expression `yaml:"rows"`
	Result   *expression `yaml:"result"`
	Count    *expression `yaml:"count"`
	AsOf     *expression `yaml:"as_of"`
	Position *expression `yaml:"position"`
	Answers  answers     `yaml:"answers"`
	// Idempotent is set where a write can be repeated without effect; Partial where a part of an order can be cancelled.
	Idempotent bool   `yaml:"idempotent"`
	Partial    bool   `yaml:"partial"`
	Refusal    string `yaml:"refusal"`
	// Done is true where the look-up before a cancellation or amendment shows that nothing is left to do.
	Done *template `yaml:"done"`

	name string
}

type paging struct {
	By    string      `yaml:"by"`
	First int         `yaml:"first"`
	Size  int         `yaml:"size"`
	More  *expression `yaml:"more"`
	Next  *expression `yaml:"next"`
}

type windows struct {
	From  *template `yaml:"from"`
	Span  duration  `yaml:"span"`
	Ahead duration  `yaml:"ahead"`
}

// duration is a time.Duration as a file writes it, such as 90s.
type duration time.Duration

// UnmarshalYAML implements yaml.NodeUnmarshalerContext.
func (d *duration) UnmarshalYAML(ctx context.Context, n ast.Node) error {
	text, _ := scalar(n)
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		problemsOf(ctx).add(n, "%.40q is not a duration: write a number with its unit, such as 30s, 10m or 168h", text)
		return nil
	}
	*d = duration(v)
	return nil
}

// Problem is one thing that is wrong with a file. Line counts from 1.
type Problem struct {
	File  string
	Line  int
	Field string
	Text  string
}

// Error is "file:line: field: text".
func (p Problem) Error() string {
	if p.Field == "" { // it is about the file as a whole
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Field, p.Text)
}

// problems collects what is wrong, and knows where the fields stand.
type problems struct {
	file  string
	found []Problem
	lines map[string]int
}

type problemsKey struct{}

func problemsOf(ctx context.Context) *problems {
	p, ok := ctx.Value(problemsKey{}).(*problems)
	if !ok {
		return &problems{}
	}
	return p
}

func fieldOf(n ast.Node) string { return strings.TrimPrefix(strings.TrimPrefix(n.GetPath(), "$"), ".") }

func (p *problems) add(n ast.Node, format string, args ...any) {
	line := 1
	if token := n.GetToken(); token != nil && token.Position != nil {
		line = token.Position.Line
	}
	p.found = append(p.found, Problem{File: p.file, Line: line, Field: fieldOf(n), Text: fmt.Sprintf(format, args...)})
}

// at tells what is wrong with a field that may not be there: then the line is that of the nearest one around it.
func (p *problems) at(field, format string, args ...any) {
	line := 1
	for around := field; around != ""; {
		if l, ok := p.lines[around]; ok {
			line = l
			break
		}
		cut := strings.LastIndexAny(around, ".[")
		if cut < 0 {
			break
		}
		around = around[:cut]
	}
	p.found = append(p.found, Problem{File: p.file, Line: line, Field: field, Text: fmt.Sprintf(format, args...)})
}

// Visit implements ast.Visitor: it notes the line of every field.
func (p *problems) Visit(n ast.Node) ast.Visitor {
	if v, ok := n.(*ast.MappingValueNode); ok && v.Key != nil {
		if token := v.Key.GetToken(); token != nil && token.Position != nil {
			p.lines[fieldOf(v)] = token.Position.Line
		}
	}
	return p
}

func (p *problems) err() error {
	slices.SortStableFunc(p.found, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, 0, len(p.found))
	for _, f := range p.found {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

// Load reads the file at a path. The error is every Problem, joined, as far as they can be found at once.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the connector's file: %w", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the connector's file: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a file. name is its name in errors.
func Parse(name string, data []byte) (*File, error) {
	p := &problems{file: name, lines: map[string]int{}}
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))
	switch {
	case len(data) > MaxFile:
		return nil, Problem{name, 1, "", fmt.Sprintf("the file is larger than %d bytes", MaxFile)}
	case !utf8.Valid(data):
		return nil, Problem{name, 1, "", "the file is not UTF-8"}
	}
	var tree *ast.File
	err := guarded(func() (err error) {
		tree, err = parser.ParseBytes(data, 0)
		return err
	})
	if err != nil {
		return nil, yamlProblem(name, err)
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, Problem{name, 1, "", "the file must hold one document"}
	}
	if depth(tree.Docs[0].Body, 0) > maxDepth {
		return nil, Problem{name, 1, "", fmt.Sprintf("it is nested deeper than %d", maxDepth)}
	}
	ast.Walk(p, tree.Docs[0].Body)
	f := &File{}
	ctx := context.WithValue(context.Background(), problemsKey{}, p)
	decoder := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := guarded(func() error { return decoder.DecodeContext(ctx, f) }); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(p.err(), yamlProblem(name, err))
	}
	f.nameOperations()
	f.check(p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return f, nil
}

// guarded makes an error of a panic: the YAML library panics on some files, such as one with a tag before text where a mapping is
// expected.
func guarded(read func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file cannot be read as YAML: leave out tags (!name) and anchors (%v)", r)
		}
	}()
	return read()
}

// depth is how deep a tree goes, as far as it matters.
func depth(n ast.Node, at int) int {
	if at > maxDepth {
		return at
	}
	deepest := at
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			deepest = max(deepest, depth(v.Value, at+1))
		}
	case *ast.MappingValueNode:
		deepest = max(deepest, depth(n.Value, at+1))
	case *ast.SequenceNode:
		for _, v := range n.Values {
			deepest = max(deepest, depth(v, at+1))
		}
	}
	return deepest
}

func yamlProblem(name string, err error) error {
	var e yaml.Error
	if !errors.As(err, &e) {
		return Problem{name, 1, "", err.Error()}
	}
	line := 1
	if token := e.GetToken(); token != nil && token.Position != nil {
		line = token.Position.Line
	}
	return Problem{name, line, fieldIn(e.GetMessage()), e.GetMessage()}
}

var quoted = regexp.MustCompile(`"([^"]*)"`)

// fieldIn is the name that a message of the YAML library quotes.
func fieldIn(message string) string {
	if found := quoted.FindStringSubmatch(message); found != nil {
		return found[1]
	}
	return "YAML"
}

var word = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// reserved settings are those of every declared connection.
var reserved = []string{settingFile, settingPace}

// check finds what is missing or contradicts itself.
func (f *File) check(p *problems) {
	if !word.MatchString(f.Name) {
		p.at("name", "write a word of a-z, 0-9, - and _")
	}
	if f.Title == "" {
		p.at("title", "write the name of the system for people")
	}
	f.checkSettings(p)
	if f.RequestsPerSecond < 0 || f.RequestsPerSecond > 10_000 {
		p.at("requests_per_second", "write a number from 0 to 10000; 0 is no limit")
	}
	f.checkAuth(p)
	f.checkAnswers(p, "answers", &f.Answers)
	for code, c := range f.Status {
		if n, err := strconv.Atoi(code); err != nil || n < 400 || n > 599 {
			p.at("statuses."+code, "write an HTTP status from 400 to 599")
		}
		checkClass(p, "statuses."+code, c)
	}
	f.checkOperations(p)
	f.checkWebhook(p)
	for i, e := range f.Examples {
		if e.Name == "" || e.Call == "" {
			p.at(fmt.Sprintf("examples[%d]", i), "an example has a name and the call that it shows")
		}
	}
	if f.Pretend != nil {
		f.Pretend.check(p, f)
	}
	for name, reason := range f.Skip {
		if strings.TrimSpace(reason) == "" {
			p.at("skip."+name, "write the reason for which the case is skipped")
		}
	}
}

func (f *File) checkSettings(p *problems) {
	seen := map[string]bool{}
	for i, s := range f.Settings {
		at := fmt.Sprintf("settings[%d]", i)
		switch {
		case !word.MatchString(s.Name):
			p.at(at+".name", "write a word of a-z, 0-9 and _")
		case slices.Contains(reserved, s.Name):
			p.at(at+".name", "%s is a setting of every declared connection: write another name", s.Name)
		case seen[s.Name]:
			p.at(at+".name", "the setting %s stands twice", s.Name)
		case s.Help == "":
			p.at(at+".help", "write one sentence for the person who fills in %s", s.Name)
		case s.Secret && s.Default != "":
			p.at(at+".default", "a secret has no default: everybody would know it")
		}
		seen[s.Name] = true
	}
	if !seen[settingBaseURL] && !f.listensOnly() {
		p.at("settings", "there must be a setting %s, the address of the system", settingBaseURL)
	}
}

func (f *File) checkAuth(p *problems) {
	if b := f.Auth.Basic; b != nil && (!b.User.set() || !b.Password.set()) {
		p.at("auth.basic", "write user and password")
	}
	if t := f.Auth.Token; t != nil {
		checkRequest(p, "auth.token.request", t.Request)
		if t.Refresh != nil {
			checkRequest(p, "auth.token.refresh", t.Refresh)
			if !t.RefreshToken.set() {
				p.at("auth.token.refresh_token", "write where the answer has the refresh token")
			}
		}
		if !t.Access.set() {
			p.at("auth.token.access_token", "write where the answer has the token")
		}
	}
	if s := f.Auth.Sign; s != nil {
		checkSign(p, "auth.sign", s)
	}
}

func checkSign(p *problems, at string, s *sign) {
	if _, err := s.function(); err != nil {
		p.at(at+".scheme", "%v", err)
	}
	if !s.Secret.set() {
		p.at(at+".secret", "write which setting is the secret, such as =.settings.app_secret")
	}
	if s.Of != inForm && s.Of != inQuery {
		p.at(at+".of", "write form or query: what is signed, and where the signature goes")
	}
	if s.Into == "" {
		p.at(at+".into", "write the name of the parameter that the signature is put into")
	}
}

func checkRequest(p *problems, at string, r *request) {
	if r == nil {
		p.at(at, "write the request: method and path at least")
		return
	}
	if !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, r.Method) {
		p.at(at+".method", "write GET, POST, PUT, PATCH or DELETE")
	}
	if !r.Path.set() {
		p.at(at+".path", "write the path, behind the base_url")
	}
	if r.Form.set() && r.JSON.set() {
		p.at(at+".json", "a request has a form or JSON, not both")
	}
	if (r.Form.set() || r.JSON.set()) && r.Method == "GET" {
		p.at(at+".method", "GET takes no form and no JSON; write query")
	}
}

func (f *File) checkAnswers(p *problems, at string, a *answers) {
	for code, c := range a.Codes {
		checkClass(p, at+".codes."+code, c)
	}
	if a.Otherwise != nil {
		checkClass(p, at+".otherwise", *a.Otherwise)
	}
	if len(a.Codes) > 0 && !a.Code.set() && !f.Answers.Code.set() {
		p.at(at+".code", "write where an answer has its code")
	}
}

func checkClass(p *problems, at string, c class) {
	kinds := []connectors.ErrorKind{connectors.Retryable, connectors.Throttled, connectors.Rejected, connectors.Auth, connectors.Unmapped, connectors.Uncertain}
	if !slices.Contains(kinds, c.Kind) {
		p.at(at+".kind", "write retryable, throttled, rejected, auth, unmapped or uncertain")
	}
	if c.Message == "" {
		p.at(at+".message", "write what a person is told: what happened, and what to do in that system")
	}
}

// nameOperations tells every operation that stands in the file its name, and gathers them.
func (f *File) nameOperations() {
	o := &f.Operations
	for _, a := range []struct {
		name string
		op   *operation
	}{
		{"check", o.Check}, {"locations", o.Locations}, {"items", o.Items}, {"levels", o.Levels}, {"movements", o.Movements}, {"order", o.Order},
		{"create_order", o.CreateOrder}, {"cancel_order", o.CancelOrder}, {"amend_order", o.AmendOrder}, {"order_status", o.OrderStatus},
		{"listings", o.Listings}, {"read_stock", o.ReadStock}, {"write_stock", o.WriteStock}, {"orders", o.Orders}, {"write_shipment", o.WriteShipment},
	} {
		if a.op != nil {
			a.op.name = a.name
			f.named = append(f.named, a.op)
		}
	}
}

// lists are the operations that give rows.
var lists = []string{"locations", "items", "levels", "movements", "listings", "read_stock", "write_stock", "orders"}

// ofRole are the operations of each role: those that there must be, and those that there may be.
var ofRole = map[connectors.Role]struct{ must, may []string }{
	connectors.SystemOfRecordRole: {[]string{"locations", "items", "levels", "order", "create_order", "cancel_order"}, []string{"check", "movements", "amend_order", "order_status"}},
	connectors.MarketplaceRole:    {[]string{"listings", "read_stock", "write_stock", "orders"}, []string{"check", "write_shipment"}},
}

// listensOnly reports whether the system is never asked: a system of record that only sends webhooks.
func (f *File) listensOnly() bool {
	return f.Role == connectors.SystemOfRecordRole && f.Webhook != nil && len(f.named) == 0
}

func (f *File) checkOperations(p *problems) {
	rules, known := ofRole[f.Role]
	switch {
	case !known:
		p.at("role", "write marketplace or system_of_record")
		return
	case f.Role == connectors.SystemOfRecordRole && f.Basis != stock.OnHandBasis && f.Basis != stock.AvailableBasis:
		p.at("basis", "write on_hand, where the numbers contain what is sold and not yet sent, or available")
	case f.Role == connectors.MarketplaceRole && !slices.Contains([]connectors.Class{connectors.DeductsSinceUpdate, connectors.DeductsOpenOrders, connectors.Overwrite, connectors.AsynchronousFeed}, f.Class):
		p.at("class", "write C5, or C3, C4 or C6 where the vendor's documents say so; a declared connector cannot be C1 or C2")
	case f.Role == connectors.MarketplaceRole && f.Batch < 1:
		p.at("batch", "write how many listings one request takes, at least 1")
	}
	if f.listensOnly() {
		return
	}
	have := map[string]bool{}
	for _, o := range f.named {
		have[o.name] = true
		at := "operations." + o.name
		if !slices.Contains(rules.must, o.name) && !slices.Contains(rules.may, o.name) {
			p.at(at, "a %s has no such operation", f.Role)
			continue
		}
		f.checkOperation(p, at, o)
	}
	for _, name := range rules.must {
		if !have[name] {
			p.at("operations", "the operation %s is missing", name)
		}
	}
	if have["movements"] && !f.Operations.Levels.hasPosition() {
		p.at("operations.levels.position", "with movements, levels must tell the position that they are of")
	}
}

func (o *operation) hasPosition() bool { return o != nil && o.Position.set() }

func (f *File) checkOperation(p *problems, at string, o *operation) {
	if o.Request != nil {
		checkRequest(p, at+".request", o.Request)
	} else if o.name != "locations" && o.Refusal == "" {
		p.at(at+".request", "write the request, or under refusal why the system cannot do this")
	}
	if o.Refusal != "" {
		return
	}
	switch isList := slices.Contains(lists, o.name); {
	case isList && !o.Rows.set():
		p.at(at+".rows", "write where the answer has its rows")
	case !isList && o.Rows.set():
		p.at(at+".rows", "the operation has one result: write result")
	case slices.Contains([]string{"order", "create_order", "order_status"}, o.name) && !o.Result.set():
		p.at(at+".result", "write what the answer says")
	}
	f.checkAnswers(p, at+".answers", &o.Answers)
	if g := o.Paging; g != nil {
		switch g.By {
		case byPage, byOffset:
			if !g.More.set() {
				p.at(at+".paging.more", "write when there is a next page")
			}
			if g.Size < 1 {
				p.at(at+".paging.size", "write how many rows a page has")
			}
		case byCursor, byLink:
			if !g.Next.set() {
				p.at(at+".paging.next", "write where the answer has the next cursor or link")
			}
		default:
			p.at(at+".paging.by", "write page, offset, cursor or link")
		}
		if o.name == "write_stock" || o.name == "read_stock" {
			p.at(at+".paging", "%s is one request per batch", o.name)
		}
	}
	if w := o.Windows; w != nil {
		if !w.From.set() {
			p.at(at+".windows.from", "write the instant that the first window begins at")
		}
		if time.Duration(w.Span) < time.Minute {
			p.at(at+".windows.span", "write how long a window may be, at least 1m")
		}
	}
}
