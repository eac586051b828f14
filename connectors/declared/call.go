package declared

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/connectors/signature"
)

// connection is what both roles share.
type connection struct {
	file     *File
	client   *rest.Client
	settings map[string]any
	secrets  []string
	now      func() time.Time
	clock    rest.Clock
	closed   atomic.Bool

	// tokenMu is held while a token is got, so that one is got at a time.
	tokenMu sync.Mutex
	token   token
}

// inputs are what a request is made of, beside the settings.
type inputs map[string]any

type writing struct{}

// Writes reports whether a request with this context changes something at the other side: for what stands between a
// connection and its system in a test.
func Writes(ctx context.Context) bool { return ctx.Value(writing{}) != nil }

// Close implements connectors.Connection.
func (c *connection) Close() error {
	c.closed.Store(true)
	if c.client == nil {
		return nil
	}
	return c.client.Close()
}

// scope is what expressions see of a call.
func (c *connection) scope(operation string, more inputs) map[string]any {
	in := map[string]any{"settings": c.settings, "now": int(c.now().Unix()), "operation": operation, "token": nil}
	maps.Copy(in, more)
	return in
}

// answer is what came back, with the scope that it was asked in.
type answer struct {
	body any
	in   map[string]any
}

// ask makes the request of an operation. Where a token is refused, another is got and the request is made once more: the
// refusal says that nothing happened.
func (c *connection) ask(ctx context.Context, o *operation, what string, write bool, more inputs) (answer, error) {
	if err := ctx.Err(); err != nil && errors.Is(err, context.Canceled) {
		return answer{}, err
	}
	if c.client == nil || c.closed.Load() {
		return answer{}, &connectors.Error{Kind: connectors.Retryable, Op: what, Err: errors.New("the connection is closed, or has no base_url; nothing was sent")}
	}
	for first := true; ; first = false {
		in := c.scope(o.name, more)
		used, err := c.useToken(ctx, what, in)
		if err != nil {
			return answer{}, err
		}
		got, renew, err := c.send(ctx, o.Request, &o.Answers, what, write, o.Idempotent, in)
		if err == nil {
			return answer{got, in}, nil
		}
		if !first || !renew || used == "" {
			return answer{}, without(used, err)
		}
		c.dropToken(used)
	}
}

// send makes one request and classes its answer. renew says that the token was refused.
func (c *connection) send(ctx context.Context, r *request, own *answers, what string, write, idempotent bool, in map[string]any) (body any, renew bool, err error) {
	call, err := c.build(ctx, r, in)
	if err != nil {
		return nil, false, c.rejected(what, fmt.Errorf("the request cannot be made: %w", err))
	}
	var header http.Header
	status := 0
	call.Op, call.Write, call.Idempotent, call.ResponseHeader, call.Status = what, write, idempotent, &header, &status
	if write {
		ctx = context.WithValue(ctx, writing{}, true)
	}
	var raw jsontext.Value
	err = c.client.Do(ctx, call, &raw)
	if header != nil {
		c.clock.Note(header)
	}
	if err != nil {
		if k, known := c.file.Status[strconv.Itoa(status)]; known {
			return nil, k.RenewToken, c.classed(what, k, strconv.Itoa(status), err.Error())
		}
		return nil, status == http.StatusUnauthorized, err
	}
	if body, err = value(raw); err != nil {
		return nil, false, c.misfit(what, write, fmt.Errorf("the answer cannot be read: %w", err))
	}
	renew, err = c.judge(ctx, own, what, write, body, in)
	return body, renew, err
}

// judge says whether a 2xx answer says that it was done.
func (c *connection) judge(ctx context.Context, own *answers, what string, write bool, body any, in map[string]any) (renew bool, err error) {
	ok := pick(own.OK, c.file.Answers.OK)
	if !ok.set() {
		return false, nil
	}
	done, err := ok.one(ctx, body, in)
	if err != nil {
		return false, c.misfit(what, write, err)
	}
	if done == true {
		return false, nil
	}
	code, message := c.told(ctx, pick(own.Code, c.file.Answers.Code), body, in), c.told(ctx, pick(own.Message, c.file.Answers.Message), body, in)
	k, known := own.Codes[code]
	if !known {
		k, known = c.file.Answers.Codes[code]
	}
	if otherwise := pick(own.Otherwise, c.file.Answers.Otherwise); !known && code != "" && otherwise != nil {
		k, known = *otherwise, true
	}
	if known {
		return k.RenewToken, c.classed(what, k, code, message)
	}
	return false, c.misfit(what, write, fmt.Errorf("the answer does not say that it was done, and has no code that is known (%q): %s", code, message))
}

// told is what an answer says for people; what cannot be found is not said.
func (c *connection) told(ctx context.Context, e *expression, body, in any) string {
	if !e.set() {
		return ""
	}
	v, err := e.one(ctx, body, in)
	if err != nil {
		return ""
	}
	text, _ := textOf(v)
	return text
}

func pick[T any](own, general *T) *T {
	if own != nil {
		return own
	}
	return general
}

// classed is the error that a code or a status stands for.
func (c *connection) classed(what string, k class, code, message string) *connectors.Error {
	text := k.Message
	if message != "" {
		text += " (the system says: " + message + ")"
	}
	e := &connectors.Error{Kind: k.Kind, Op: what, Code: c.redact(code), Err: errors.New(c.redact(text))}
	if k.Kind == connectors.Throttled && k.Wait > 0 {
		e.RetryAt = c.now().Add(time.Duration(k.Wait)).UTC()
	}
	return e
}

// misfit is an answer that is not what was agreed. On a write it may have happened all the same.
func (c *connection) misfit(what string, write bool, err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	kind := connectors.Rejected
	if write {
		kind = connectors.Uncertain
	}
	return &connectors.Error{Kind: kind, Op: what, Err: errors.New(c.redact(err.Error()))}
}

func (c *connection) rejected(what string, err error) error { return c.misfit(what, false, err) }

func (c *connection) redact(text string) string {
	if c.client == nil {
		return text
	}
	return c.client.Redact(text)
}

// build fills in a request, with what is common to all, and signs it.
func (c *connection) build(ctx context.Context, r *request, in map[string]any) (rest.Call, error) {
	call := rest.Call{Method: r.Method, Header: http.Header{}}
	path, err := r.Path.text(ctx, in)
	if err != nil {
		return call, err
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") {
		return call, fmt.Errorf("the path is %.80q: it must begin with / and have no ? and no #", path)
	}
	call.Path = path
	headers, query, form := map[string]string{}, map[string]string{}, map[string]string{}
	for _, part := range []struct {
		of   []*template
		into map[string]string
	}{{[]*template{c.file.Common.Headers, r.Headers}, headers}, {[]*template{c.file.Common.Query, r.Query}, query}} {
		for _, t := range part.of {
			if err := t.parameters(ctx, in, part.into); err != nil {
				return call, err
			}
		}
	}
	if r.Form.set() {
		for _, t := range []*template{c.file.Common.Form, r.Form} {
			if err := t.parameters(ctx, in, form); err != nil {
				return call, err
			}
		}
	}
	if s := c.file.Auth.Sign; s != nil {
		if err := s.apply(ctx, in, form, query); err != nil {
			return call, err
		}
	}
	for name, v := range headers {
		if strings.ContainsAny(name+v, "\r\n") {
			return call, fmt.Errorf("the header %.40q has a line break", name)
		}
		call.Header.Set(name, v)
	}
	if b := c.file.Auth.Basic; b != nil {
		if err := b.apply(ctx, in, call.Header); err != nil {
			return call, err
		}
	}
	call.Query = values(query)
	switch {
	case r.Form.set():
		call.Body = []byte(values(form).Encode())
		call.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	case r.JSON.set():
		v, err := r.JSON.value(ctx, in)
		if err != nil {
			return call, err
		}
		if call.Body, err = gojq.Marshal(v); err != nil {
			return call, err
		}
	}
	return call, nil
}

func (b *basicAuth) apply(ctx context.Context, in any, h http.Header) error {
	user, err := b.User.text(ctx, in)
	if err != nil {
		return err
	}
	password, err := b.Password.text(ctx, in)
	if err != nil {
		return err
	}
	r := http.Request{Header: h}
	r.SetBasicAuth(user, password)
	return nil
}

// Where the parameters that are signed stand.
const (
	inForm  = "form"
	inQuery = "query"
)

func (s *sign) apply(ctx context.Context, in any, form, query map[string]string) error {
	secret, err := s.Secret.text(ctx, in)
	if err != nil {
		return err
	}
	f, err := s.function()
	if err != nil {
		return err
	}
	into := form
	if s.Of == inQuery {
		into = query
	}
	into[s.Into] = f(secret, into)
	return nil
}

// function is the scheme: from a secret and parameters to the signature.
func (s *sign) function() (func(secret string, parameters map[string]string) string, error) {
	switch s.Scheme {
	case "jushuitan":
		return signature.Jushuitan, nil
	case "wangdian":
		return signature.Wangdian, nil
	case "alibaba":
		return signature.Alibaba, nil
	case "sorted":
		if s.Sorted == nil {
			return nil, errors.New("write under sorted how the parameters are joined and hashed")
		}
		j := signature.Joining{Hash: s.Sorted.Hash, Equals: s.Sorted.Equals, Between: s.Sorted.Between, SkipEmpty: s.Sorted.SkipEmpty, Upper: s.Sorted.Upper,
			Before: s.Sorted.Secret == "before" || s.Sorted.Secret == "both", After: s.Sorted.Secret == "after" || s.Sorted.Secret == "both"}
		if err := j.Validate(); err != nil {
			return nil, err
		}
		return func(secret string, parameters map[string]string) string { return j.Sorted(secret, parameters, s.Into) }, nil
	default:
		return nil, fmt.Errorf("the scheme is %.40q: write jushuitan, wangdian, alibaba or sorted", s.Scheme)
	}
}

// without takes a token out of an error: the client knows only the secrets that it began with.
func without(secret string, err error) error {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || secret == "" || !strings.Contains(e.Error(), secret) {
		return err
	}
	clean := *e
	clean.Code = strings.ReplaceAll(e.Code, secret, "redacted")
	clean.Err = errors.New(strings.ReplaceAll(e.Err.Error(), secret, "redacted"))
	return &clean
}

// token is what a request is authorised by, for as long as it lasts.
type token struct {
	access, refresh string
	until           time.Time
}

// useToken puts a token into the scope, where the file has them. It returns the token.
func (c *connection) useToken(ctx context.Context, what string, in map[string]any) (string, error) {
	t := c.file.Auth.Token
	if t == nil {
		return "", nil
	}
	c.tokenMu.Lock()
	defer c.tokenMu.Unlock()
	if c.token.access == "" || !c.token.until.IsZero() && !c.now().Before(c.token.until) {
		if err := c.renew(ctx, t, what); err != nil {
			return "", err
		}
	}
	in["token"] = c.token.access
	return c.token.access, nil
}

func (c *connection) dropToken(used string) {
	c.tokenMu.Lock()
	defer c.tokenMu.Unlock()
	if c.token.access == used {
		c.token.access = ""
	}
}

// renew gets a token: by the refresh token where one is known, and from the beginning where that is refused.
func (c *connection) renew(ctx context.Context, t *tokenAuth, what string) error {
	what += ": get a token"
	if t.Refresh != nil && c.token.refresh != "" {
		err := c.fetchToken(ctx, t, t.Refresh, what)
		if kind := connectors.KindOf(err); kind != connectors.Auth && kind != connectors.Rejected {
			return err
		}
	}
	return c.fetchToken(ctx, t, t.Request, what)
}

func (c *connection) fetchToken(ctx context.Context, t *tokenAuth, r *request, what string) error {
	in := c.scope("token", inputs{"refresh_token": nil})
	if c.token.refresh != "" {
		in["refresh_token"] = c.token.refresh
	}
	asked := c.now()
	body, _, err := c.send(ctx, r, &answers{}, what, false, false, in)
	if err != nil {
		return without(c.token.refresh, err)
	}
	got := token{access: c.told(ctx, t.Access, body, in), refresh: c.token.refresh}
	if got.access == "" {
		return &connectors.Error{Kind: connectors.Auth, Op: what, Err: fmt.Errorf("the answer has no token at %s; check the credentials of the connection", t.Access.where)}
	}
	if fresh := c.told(ctx, t.RefreshToken, body, in); fresh != "" {
		got.refresh = fresh
	}
	if t.ExpiresIn.set() {
		v, err := t.ExpiresIn.one(ctx, body, in)
		if err != nil {
			return c.rejected(what, err)
		}
		seconds, ok := whole(v, nil).(int)
		if !ok || seconds < 1 || seconds > 10*365*24*3600 {
			return c.rejected(what, fmt.Errorf("%s: the token lasts %.40q seconds, which makes no sense", t.ExpiresIn.where, fmt.Sprint(v)))
		}
		// Renewed early, by what the file says and at most by half of its life.
		lasts := time.Duration(seconds) * time.Second
		got.until = asked.Add(lasts - min(time.Duration(t.RenewBefore), lasts/2))
	}
	c.token = got
	return nil
}

// kinds of paging.
const (
	byPage   = "page"
	byOffset = "offset"
	byCursor = "cursor"
	byLink   = "link"
)

// errEnough ends a list of which only the beginning is wanted.
var errEnough = errors.New("one page is enough")

// maxPages bounds a list.
const maxPages = 100_000

// list asks for all pages of a list, of all windows, and gives each page's rows to take. One enumeration is one call of
// the connection: rows that move between windows while they are read are seen by the last window.
func (c *connection) list(ctx context.Context, o *operation, what string, more inputs, take func(rows []any, a answer) error) error {
	if o.Windows == nil {
		_, err := c.pages(ctx, o, what, more, take)
		return err
	}
	v, err := o.Windows.From.value(ctx, c.scope(o.name, more))
	if err != nil {
		return c.rejected(what, err)
	}
	from, ok := instant(v, nil).(int)
	if !ok {
		return c.rejected(what, fmt.Errorf("operations.%s.windows.from gives %.40q, which is no instant", o.name, fmt.Sprint(v)))
	}
	span := int(time.Duration(o.Windows.Span) / time.Second)
	for range maxPages {
		end := int(c.now().Add(time.Duration(o.Windows.Ahead)).Unix())
		to := min(from+span, end)
		window := maps.Clone(more)
		if window == nil {
			window = inputs{}
		}
		window["window"] = map[string]any{"from": from, "to": max(to, from)}
		pages, err := c.pages(ctx, o, what, window, take)
		if err != nil {
			return err
		}
		// What changed while the pages of the last window were read is in a later window. A window of one page is of one
		// moment: nothing can have slipped by.
		if to >= end && pages <= 1 {
			return nil
		}
		from = to
	}
	return c.rejected(what, errors.New("the windows do not end: the list changes faster than it can be read"))
}

// pages asks for the pages of one list, and returns how many there were.
func (c *connection) pages(ctx context.Context, o *operation, what string, more inputs, take func(rows []any, a answer) error) (int, error) {
	at := inputs{}
	maps.Copy(at, more)
	page := map[string]any{"number": 0, "offset": 0, "size": 0, "cursor": nil}
	if o.Paging != nil {
		page["number"], page["size"] = o.Paging.First, o.Paging.Size
	}
	seen := map[string]bool{}
	previous, link := "", ""
	for n := 1; n <= maxPages; n++ {
		at["page"] = maps.Clone(page)
		op := *o
		if link != "" {
			op.Request = &request{Method: o.Request.Method, Path: &template{kind: literalKind, literal: link}, Headers: o.Request.Headers}
		}
		a, err := c.page(ctx, o, &op, what, at, link)
		if err != nil {
			return n, err
		}
		rows, err := o.Rows.rows(ctx, a.body, a.in)
		if err == nil {
			err = take(rows, a)
		}
		switch {
		case errors.Is(err, errEnough):
			return n, err
		case err != nil:
			return n, c.rejected(what, err)
		}
		if o.Paging == nil {
			return n, nil
		}
		next, err := o.Paging.next(ctx, a)
		if err != nil {
			return n, c.rejected(what, err)
		}
		if next == "" {
			return n, nil
		}
		switch o.Paging.By {
		case byPage, byOffset:
			// A system that does not know the parameter gives the same page for ever.
			these, _ := gojq.Marshal(rows)
			if len(rows) > 0 && string(these) == previous {
				return n, c.rejected(what, fmt.Errorf("page %d has the same rows as the page before: the list would never end", n))
			}
			previous = string(these)
			page["number"] = o.Paging.First + n
			page["offset"] = n * o.Paging.Size
		default:
			if seen[next] {
				return n, c.rejected(what, fmt.Errorf("the next page is %.80q, which came before: the list would never end", next))
			}
			seen[next] = true
			page["cursor"] = next
			if o.Paging.By == byLink {
				link = next
			}
		}
	}
	return maxPages, c.rejected(what, fmt.Errorf("the list has more than %d pages", maxPages))
}

// page asks for one page: by the request of the operation, or by a link of the page before.
func (c *connection) page(ctx context.Context, o, linked *operation, what string, at inputs, link string) (answer, error) {
	if o.Request == nil {
		in := c.scope(o.name, at)
		return answer{in, in}, ctx.Err()
	}
	if link == "" {
		return c.ask(ctx, o, what, false, at)
	}
	path, query, err := c.within(link)
	if err != nil {
		return answer{}, c.rejected(what, err)
	}
	members := make([]member, 0, len(query))
	for _, name := range slices.Sorted(maps.Keys(query)) {
		members = append(members, member{name, template{kind: literalKind, literal: query.Get(name)}})
	}
	linked.Request.Path = &template{kind: literalKind, literal: path}
	linked.Request.Query = &template{kind: mappingKind, members: members}
	return c.ask(ctx, linked, what, false, at)
}

// next is the cursor or link of the next page, or a word where there is one and they are counted; empty at the end.
func (g *paging) next(ctx context.Context, a answer) (string, error) {
	if g.By == byPage || g.By == byOffset {
		v, err := g.More.one(ctx, a.body, a.in)
		if err != nil {
			return "", err
		}
		more, ok := v.(bool)
		if !ok {
			return "", fmt.Errorf("%s: it gives %.40q, and true or false is wanted", g.More.where, fmt.Sprint(v))
		}
		if more {
			return "more", nil
		}
		return "", nil
	}
	v, err := g.Next.one(ctx, a.body, a.in)
	if err != nil {
		return "", err
	}
	return textOf(v)
}

// within takes the link of a next page apart. It must lead to the system itself: another host would get the credentials.
func (c *connection) within(link string) (path string, query url.Values, err error) {
	base, err := url.Parse(textSetting(c.settings, settingBaseURL))
	if err != nil {
		return "", nil, errors.New("base_url is no URL")
	}
	u, err := base.Parse(link)
	if err != nil {
		return "", nil, errors.New("the link of the next page is no URL")
	}
	prefix := strings.TrimRight(base.EscapedPath(), "/")
	path, inside := strings.CutPrefix(u.EscapedPath(), prefix)
	if u.Scheme != base.Scheme || u.Host != base.Host || !inside || !strings.HasPrefix(path, "/") {
		return "", nil, fmt.Errorf("the link of the next page leads to %.80q, which is not below base_url", u.Host+u.Path)
	}
	return path, u.Query(), nil
}

func textSetting(settings map[string]any, name string) string {
	text, _ := settings[name].(string)
	return text
}
