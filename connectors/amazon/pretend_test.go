package amazon_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	clientID     = "amzn1.application-oa2-client.suite"
	clientSecret = "amzn1.oa2-cs.v1.suite-secret"
	refreshToken = "Atzr|suite-refresh-token"
	seller       = "A2SUITE1234567"
	germany      = "A1PA6795UKMFR9"
	france       = "A13V1IB3VIYZZH"
	apiHost      = "sellingpartnerapi-eu.amazon.com"
	documentHost = "documents.example"
	queueURL     = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
	queueARN     = "arn:aws:sqs:eu-west-1:123456789012:orders"
	awsKeyID     = "AKIASUITEKEYID"
	awsKey       = "suite/aws/secret/access/key"
)

// pretend is an Amazon that behaves as its models describe: it refuses parameters and members that they do not have, takes
// tokens for an hour, pages, and shows what it accepted only after a while.
type pretend struct {
	t testing.TB

	mu        sync.Mutex
	items     []*pretendItem
	orders    []*pretendOrder
	feeds     []*pretendFeed
	documents map[string][]byte
	tokens    map[string]time.Time // when each ends
	logins    int
	revoked   bool // the refresh token is taken no more
	lag       int  // how many readings of a listing show the value from before a write
	feedLag   int  // how often a feed is asked for before it is done
	orderLag  time.Duration
	orderPage int
	limits    map[string]string // header by operation; "1000" where it has none
	spent     map[string]bool   // operations whose quota is used up
	asked     []string          // operations, in order
	strange   func(operation string, w http.ResponseWriter) bool
	changes   int
	lastID    int

	destinations  []map[string]any
	subscriptions map[string]string // destination by type
	directives    map[string]any
	messages      []*pretendMessage
}

type pretendItem struct {
	sku, channel string
	quantity     *int
	before       int // what readings show while behind is above 0
	behind       int
	created      time.Time
	invalid      string // why a write is refused
}

type pretendOrder struct {
	id, status, by, marketplace string
	created, updated            time.Time
	lines                       []*pretendLine
	packages                    []map[string]any
}

type pretendLine struct {
	id, sku                     string
	ordered, shipped, unshipped int
}

type pretendFeed struct {
	id, document, status, result string
	asked                        int
}

type pretendMessage struct {
	id, body string
	hidden   bool
	receipt  string
}

func newPretend(t testing.TB, n int) *pretend {
	p := &pretend{
		t: t, documents: map[string][]byte{}, tokens: map[string]time.Time{}, lastID: 1000, orderPage: 100, limits: map[string]string{}, spent: map[string]bool{},
		subscriptions: map[string]string{}, directives: map[string]any{},
	}
	for i := range n {
		p.items = append(p.items, &pretendItem{sku: fmt.Sprintf("SKU %03d/ä", i), channel: "DEFAULT", quantity: new(10), created: time.Date(2024, 1, 1, 0, 0, i/3, 0, time.UTC)})
	}
	return p
}

func (p *pretend) id() string { p.lastID++; return strconv.Itoa(p.lastID) }

func (p *pretend) find(sku string) *pretendItem {
	for _, i := range p.items {
		if i.sku == sku {
			return i
		}
	}
	return nil
}

// sell places an order of one line, as a buyer does: Amazon lowers the quantity by itself.
func (p *pretend) sell(sku string, units int, status string) *pretendOrder {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now().UTC().Truncate(time.Second)
	o := &pretendOrder{id: "302-" + p.id() + "000-" + p.id() + "000", status: status, by: "MERCHANT", marketplace: germany, created: now, updated: now,
		lines: []*pretendLine{{id: p.id(), sku: sku, ordered: units, unshipped: units}}}
	if i := p.find(sku); i != nil && i.quantity != nil {
		*i.quantity -= units
	}
	p.orders = append(p.orders, o)
	return o
}

func (p *pretend) notify(body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, &pretendMessage{id: "m-" + p.id(), body: body})
}

// RoundTrip implements http.RoundTripper.
func (p *pretend) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if req.Body == nil {
		req.Body = http.NoBody
	}
	p.ServeHTTP(w, req)
	return w.Result(), nil
}

// ServeHTTP implements http.Handler.
func (p *pretend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	host := r.URL.Host
	if host == "" {
		host = r.Host
	}
	switch {
	case host == "api.amazon.com":
		p.login(w, r)
	case host == documentHost:
		p.document(w, r)
	case strings.HasPrefix(host, "sqs."):
		p.sqs(w, r)
	case strings.HasSuffix(host, ".cloudfront.net"):
		w.WriteHeader(http.StatusNotFound) // what Amazon's examples of documents lead to
	default:
		p.api(w, r)
	}
}

func (p *pretend) login(w http.ResponseWriter, r *http.Request) {
	p.logins++
	form, err := io.ReadAll(r.Body)
	values, bad := url.ParseQuery(string(form))
	oauth := func(code string) {
		answer(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": "refused"})
	}
	switch {
	case err != nil || bad != nil || r.Method != http.MethodPost || r.URL.Path != "/auth/o2/token":
		oauth("invalid_request")
		return
	case values.Get("client_id") != clientID || values.Get("client_secret") != clientSecret:
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "Client authentication failed"})
		return
	}
	kind := "seller"
	switch values.Get("grant_type") {
	case "refresh_token":
		if values.Get("refresh_token") != refreshToken || p.revoked {
			oauth("invalid_grant")
			return
		}
	case "client_credentials":
		if values.Get("scope") != "sellingpartnerapi::notifications" {
			oauth("invalid_scope")
			return
		}
		kind = "grantless"
	default:
		oauth("unsupported_grant_type")
		return
	}
	token := "Atza|" + kind + "-token-" + p.id()
	p.tokens[token] = time.Now().Add(time.Hour)
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "bearer", "expires_in": 3600})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(text)
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"errors": []any{map[string]any{"code": code, "message": message, "details": ""}}})
}

// route is an operation: its method, its path, with {} for a segment, the parameters that it takes, with ! where one is
// required, and who answers.
type route struct {
	name, method, path string
	parameters         string
	grantless          bool
	serve              func(p *pretend, w http.ResponseWriter, r *http.Request, segments []string)
}

var routes = []route{
	{"getListingsItem", "GET", "/listings/2021-08-01/items/{}/{}", "marketplaceIds! issueLocale includedData", false, (*pretend).getItem},
	{"patchListingsItem", "PATCH", "/listings/2021-08-01/items/{}/{}", "marketplaceIds! includedData mode issueLocale", false, (*pretend).patchItem},
	{"searchListingsItems", "GET", "/listings/2021-08-01/items/{}", "marketplaceIds! includedData identifiers identifiersType createdAfter sortBy sortOrder pageSize pageToken", false, (*pretend).searchItems},
	{"createFeedDocument", "POST", "/feeds/2021-06-30/documents", "", false, (*pretend).createDocument},
	{"getFeedDocument", "GET", "/feeds/2021-06-30/documents/{}", "enableContentEncodingUrlHeader", false, (*pretend).getDocument},
	{"createFeed", "POST", "/feeds/2021-06-30/feeds", "", false, (*pretend).createFeed},
	{"getFeeds", "GET", "/feeds/2021-06-30/feeds", "feedTypes marketplaceIds pageSize processingStatuses createdSince createdUntil nextToken", false, (*pretend).getFeeds},
	{"getFeed", "GET", "/feeds/2021-06-30/feeds/{}", "", false, (*pretend).getFeed},
	{"searchOrders", "GET", "/orders/2026-01-01/orders", "createdAfter createdBefore lastUpdatedAfter lastUpdatedBefore fulfillmentStatuses marketplaceIds fulfilledBy maxResultsPerPage paginationToken includedData", false, (*pretend).searchOrders},
	{"getOrder", "GET", "/orders/2026-01-01/orders/{}", "includedData", false, (*pretend).getOrder},
	{"confirmShipment", "POST", "/orders/v0/orders/{}/shipmentConfirmation", "", false, (*pretend).confirm},
	{"getMarketplaceParticipations", "GET", "/sellers/v1/marketplaceParticipations", "", false, (*pretend).participations},
	{"getDestinations", "GET", "/notifications/v1/destinations", "", true, (*pretend).getDestinations},
	{"createDestination", "POST", "/notifications/v1/destinations", "", true, (*pretend).createDestination},
	{"getSubscription", "GET", "/notifications/v1/subscriptions/{}", "payloadVersion", false, (*pretend).getSubscription},
	{"createSubscription", "POST", "/notifications/v1/subscriptions/{}", "", false, (*pretend).createSubscription},
}

func (p *pretend) api(w http.ResponseWriter, r *http.Request) {
	for _, route := range routes {
		segments, ok := match(route.path, r.URL.EscapedPath())
		if !ok || route.method != r.Method {
			continue
		}
		p.asked = append(p.asked, route.name)
		limit := "1000"
		if l, set := p.limits[route.name]; set {
			limit = l
		}
		if limit != "" {
			w.Header().Set("x-amzn-RateLimit-Limit", limit)
		}
		w.Header().Set("x-amzn-RequestId", "request-"+p.id())
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		token := r.Header.Get("x-amz-access-token")
		kind := "seller"
		if route.grantless {
			kind = "grantless"
		}
		ends, known := p.tokens[token]
		switch {
		case !known || time.Now().After(ends):
			answer(w, http.StatusForbidden, map[string]any{"errors": []any{map[string]any{"code": "Unauthorized", "message": "Access to requested resource is denied.",
				"details": "The access token you provided has expired."}}})
			return
		case !strings.HasPrefix(token, "Atza|"+kind):
			refuse(w, http.StatusForbidden, "Unauthorized", "Access to requested resource is denied.")
			return
		case p.spent[route.name]:
			refuse(w, http.StatusTooManyRequests, "QuotaExceeded", "You exceeded your quota for the requested resource.")
			return
		case r.Header.Get("User-Agent") == "":
			refuse(w, http.StatusBadRequest, "InvalidInput", "no user agent")
			return
		}
		for name := range r.URL.Query() {
			if !slices.Contains(strings.Fields(strings.ReplaceAll(route.parameters, "!", "")), name) {
				p.t.Errorf("%s has no parameter %q", route.name, name)
				refuse(w, http.StatusBadRequest, "InvalidInput", "unknown parameter "+name)
				return
			}
		}
		for name := range strings.FieldsSeq(route.parameters) {
			if required, is := strings.CutSuffix(name, "!"); is && r.URL.Query().Get(required) == "" {
				p.t.Errorf("%s lacks its parameter %q", route.name, required)
				refuse(w, http.StatusBadRequest, "InvalidInput", "missing parameter "+required)
				return
			}
		}
		if p.strange != nil && p.strange(route.name, w) {
			return
		}
		if strings.HasPrefix(route.path, "/listings/") && segments[0] != seller {
			refuse(w, http.StatusForbidden, "Unauthorized", "Access to requested resource is denied.")
			return
		}
		route.serve(p, w, r, segments)
		return
	}
	p.t.Errorf("there is no operation %s %s", r.Method, r.URL.EscapedPath())
	refuse(w, http.StatusNotFound, "NotFound", "no such operation")
}

// match compares a path with a pattern, and returns what stands for {}.
func match(pattern, path string) ([]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	var segments []string
	for i := range want {
		if want[i] == "{}" {
			text, err := url.PathUnescape(got[i])
			if err != nil || text == "" {
				return nil, false
			}
			segments = append(segments, text)
		} else if want[i] != got[i] {
			return nil, false
		}
	}
	return segments, true
}

// body reads a request strictly.
func body[T any](p *pretend, w http.ResponseWriter, r *http.Request) (T, bool) {
	var v T
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &v, json.RejectUnknownMembers(true))
	}
	if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		p.t.Errorf("%s %s: %v, %s: %s", r.Method, r.URL.Path, err, r.Header.Get("Content-Type"), text)
		refuse(w, http.StatusBadRequest, "InvalidInput", "the body is not understood")
		return v, false
	}
	return v, true
}

func (i *pretendItem) show() map[string]any {
	shown := map[string]any{"fulfillmentChannelCode": i.channel}
	if i.quantity != nil {
		q := *i.quantity
		if i.behind > 0 {
			i.behind--
			q = i.before
		}
		shown["quantity"] = max(0, q)
	}
	stamp := i.created.Format(time.RFC3339)
	return map[string]any{
		"sku": i.sku, "fulfillmentAvailability": []any{shown},
		"summaries": []any{map[string]any{"marketplaceId": germany, "asin": "B000000000", "productType": "LUGGAGE", "conditionType": "new_new", "status": []string{"BUYABLE", "DISCOVERABLE"},
			"itemName": "Item " + i.sku, "createdDate": stamp, "lastUpdatedDate": stamp}},
	}
}

func (i *pretendItem) set(p *pretend, quantity int) {
	p.changes++
	i.before, i.behind = *i.quantity, p.lag
	i.quantity = &quantity
}

func (p *pretend) getItem(w http.ResponseWriter, _ *http.Request, s []string) {
	i := p.find(s[1])
	if i == nil {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "SKU '"+s[1]+"' not found in marketplace "+germany)
		return
	}
	answer(w, http.StatusOK, i.show())
}

func (p *pretend) searchItems(w http.ResponseWriter, r *http.Request, _ []string) {
	q := r.URL.Query()
	size, err := strconv.Atoi(q.Get("pageSize"))
	if err != nil || size < 1 || size > 20 {
		refuse(w, http.StatusBadRequest, "InvalidInput", "pageSize")
		return
	}
	var found []*pretendItem
	if list := q.Get("identifiers"); list != "" {
		names := strings.Split(list, ",")
		if len(names) > 20 || q.Get("identifiersType") != "SKU" {
			refuse(w, http.StatusBadRequest, "InvalidInput", "identifiers")
			return
		}
		for _, i := range p.items {
			if slices.Contains(names, i.sku) {
				found = append(found, i)
			}
		}
	} else {
		after, _ := time.Parse(time.RFC3339Nano, q.Get("createdAfter"))
		for _, i := range p.items {
			if !i.created.Before(after) {
				found = append(found, i)
			}
		}
		sort.SliceStable(found, func(a, b int) bool { return found[a].created.Before(found[b].created) })
	}
	total := len(found)
	found = found[:min(total, 1000)]
	from, _ := strconv.Atoi(strings.TrimPrefix(q.Get("pageToken"), "page-"))
	out := map[string]any{"numberOfResults": total}
	shown := []any{}
	for _, i := range found[min(from, len(found)):min(from+size, len(found))] {
		shown = append(shown, i.show())
	}
	out["items"] = shown
	if from+size < len(found) {
		out["pagination"] = map[string]any{"nextToken": "page-" + strconv.Itoa(from+size)}
	}
	answer(w, http.StatusOK, out)
}

type patchBody struct {
	ProductType string      `json:"productType"`
	Patches     []patchPart `json:"patches"`
}

type patchPart struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value []struct {
		Channel  string `json:"fulfillment_channel_code"`
		Quantity *int   `json:"quantity"`
	} `json:"value"`
}

// quantityOf is the quantity that patches set. Only merge leaves the rest of the attribute alone.
func quantityOf(b patchBody) (int, string) {
	if b.ProductType == "" || len(b.Patches) != 1 || len(b.Patches[0].Value) != 1 {
		return 0, "one patch with one value"
	}
	part := b.Patches[0]
	v := part.Value[0]
	if part.Op != "merge" || part.Path != "/attributes/fulfillment_availability" || v.Channel != "DEFAULT" || v.Quantity == nil || *v.Quantity < 0 {
		return 0, "merge of the quantity of DEFAULT"
	}
	return *v.Quantity, ""
}

func (p *pretend) patchItem(w http.ResponseWriter, r *http.Request, s []string) {
	b, ok := body[patchBody](p, w, r)
	if !ok {
		return
	}
	quantity, wrong := quantityOf(b)
	i := p.find(s[1])
	out := map[string]any{"sku": s[1], "status": "ACCEPTED", "submissionId": "submission-" + p.id(), "issues": []any{}}
	switch {
	case wrong != "":
		p.t.Errorf("the patch is not the %s: %+v", wrong, b)
		refuse(w, http.StatusBadRequest, "InvalidInput", wrong)
		return
	case i == nil || i.channel != "DEFAULT":
		p.t.Errorf("%s is patched, which the seller does not ship", s[1])
	case i.invalid != "":
		out["status"] = "INVALID"
		out["issues"] = []any{map[string]any{"code": "90220", "message": i.invalid, "severity": "ERROR", "categories": []string{"MISSING_ATTRIBUTE"}}}
	default:
		i.set(p, quantity)
	}
	answer(w, http.StatusOK, out)
}

func (p *pretend) createDocument(w http.ResponseWriter, r *http.Request, _ []string) {
	b, ok := body[struct {
		ContentType string `json:"contentType"`
	}](p, w, r)
	if !ok {
		return
	}
	if b.ContentType != "application/json; charset=UTF-8" {
		refuse(w, http.StatusBadRequest, "InvalidInput", "contentType")
		return
	}
	id := "document-" + p.id()
	answer(w, http.StatusCreated, map[string]any{"feedDocumentId": id, "url": "https://" + documentHost + "/" + id + "?X-Amz-Signature=0123456789abcdef0123456789"})
}

func (p *pretend) document(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.Header.Get("x-amz-access-token") != "":
		p.t.Error("a document is asked for with the access token")
	case len(r.URL.Query().Get("X-Amz-Signature")) < 20:
		w.WriteHeader(http.StatusForbidden)
	case r.Method == http.MethodPut:
		p.documents[id], _ = io.ReadAll(r.Body)
	default:
		_, _ = w.Write(p.documents[id])
	}
}

func (p *pretend) getDocument(w http.ResponseWriter, _ *http.Request, s []string) {
	answer(w, http.StatusOK, map[string]any{"feedDocumentId": s[0], "url": "https://" + documentHost + "/" + s[0] + "?X-Amz-Signature=0123456789abcdef0123456789", "compressionAlgorithm": "GZIP"})
}

func (p *pretend) createFeed(w http.ResponseWriter, r *http.Request, _ []string) {
	b, ok := body[struct {
		FeedType       string   `json:"feedType"`
		MarketplaceIDs []string `json:"marketplaceIds"`
		Document       string   `json:"inputFeedDocumentId"`
	}](p, w, r)
	if !ok {
		return
	}
	if b.FeedType != "JSON_LISTINGS_FEED" || len(b.MarketplaceIDs) != 1 || p.documents[b.Document] == nil {
		refuse(w, http.StatusBadRequest, "InvalidInput", "the feed")
		return
	}
	f := &pretendFeed{id: "feed-" + p.id(), document: b.Document, status: "IN_QUEUE"}
	p.feeds = append(p.feeds, f)
	p.changes++
	if p.feedLag == 0 {
		p.process(f)
	}
	answer(w, http.StatusAccepted, map[string]any{"feedId": f.id})
}

// process does what a feed says, and writes its report.
func (p *pretend) process(f *pretendFeed) {
	var content struct {
		Header struct {
			SellerID string `json:"sellerId"`
			Version  string `json:"version"`
		} `json:"header"`
		Messages []struct {
			MessageID     int         `json:"messageId"`
			SKU           string      `json:"sku"`
			OperationType string      `json:"operationType"`
			ProductType   string      `json:"productType"`
			Patches       []patchPart `json:"patches"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(p.documents[f.document], &content, json.RejectUnknownMembers(true)); err != nil || content.Header.SellerID != seller || content.Header.Version != "2.0" {
		p.t.Errorf("the feed is not understood: %v", err)
		f.status = "FATAL"
		return
	}
	issues := []any{}
	for n, m := range content.Messages {
		quantity, wrong := quantityOf(patchBody{m.ProductType, m.Patches})
		i := p.find(m.SKU)
		switch {
		case m.MessageID != n+1 || m.OperationType != "PATCH" || wrong != "" || i == nil || i.channel != "DEFAULT":
			p.t.Errorf("message %d of the feed is wrong: %s", n, wrong)
		case i.invalid != "":
			issues = append(issues, map[string]any{"messageId": m.MessageID, "sku": m.SKU, "code": "90220", "severity": "ERROR", "message": i.invalid})
		default:
			i.set(p, quantity)
		}
	}
	f.status, f.result = "DONE", "report-"+f.id
	text, err := json.Marshal(map[string]any{"header": map[string]any{"sellerId": seller, "version": "2.0", "feedId": f.id}, "issues": issues,
		"summary": map[string]any{"errors": len(issues), "warnings": 0, "messagesProcessed": len(content.Messages), "messagesAccepted": len(content.Messages) - len(issues), "messagesInvalid": len(issues)}})
	if err != nil {
		p.t.Error(err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(text)
	_ = z.Close()
	p.documents[f.result] = zipped.Bytes()
}

func (f *pretendFeed) show() map[string]any {
	out := map[string]any{"feedId": f.id, "feedType": "JSON_LISTINGS_FEED", "marketplaceIds": []string{germany}, "createdTime": "2026-01-01T00:00:00Z", "processingStatus": f.status}
	if f.result != "" {
		out["resultFeedDocumentId"] = f.result
	}
	return out
}

func (p *pretend) getFeeds(w http.ResponseWriter, r *http.Request, _ []string) {
	list := []any{}
	for _, f := range p.feeds {
		if slices.Contains(strings.Split(r.URL.Query().Get("processingStatuses"), ","), f.status) {
			list = append(list, f.show())
		}
	}
	answer(w, http.StatusOK, map[string]any{"feeds": list})
}

func (p *pretend) getFeed(w http.ResponseWriter, _ *http.Request, s []string) {
	for _, f := range p.feeds {
		if f.id == s[0] {
			if f.asked++; f.status == "IN_QUEUE" && f.asked >= p.feedLag {
				p.process(f)
			}
			answer(w, http.StatusOK, f.show())
			return
		}
	}
	refuse(w, http.StatusNotFound, "NotFound", "no such feed")
}

func (o *pretendOrder) show(included string) map[string]any {
	stamp := func(t time.Time) string { return t.Format(time.RFC3339) }
	lines := []any{}
	for _, l := range o.lines {
		line := map[string]any{"orderItemId": l.id, "quantityOrdered": l.ordered, "product": map[string]any{"asin": "B000000000", "sellerSku": l.sku}}
		if strings.Contains(included, "FULFILLMENT") && !strings.HasPrefix(o.status, "PENDING") {
			line["fulfillment"] = map[string]any{"quantityFulfilled": l.shipped, "quantityUnfulfilled": l.unshipped}
		}
		lines = append(lines, line)
	}
	out := map[string]any{
		"orderId": o.id, "createdTime": stamp(o.created), "lastUpdatedTime": stamp(o.updated), "orderItems": lines,
		"salesChannel": map[string]any{"channelName": "AMAZON", "marketplaceId": o.marketplace, "marketplaceName": "Amazon.de"},
	}
	if strings.Contains(included, "FULFILLMENT") {
		out["fulfillment"] = map[string]any{"fulfillmentStatus": o.status, "fulfilledBy": o.by, "fulfillmentServiceLevel": "STANDARD"}
	}
	if strings.Contains(included, "PACKAGES") {
		out["packages"] = o.packages
		if o.packages == nil {
			out["packages"] = []any{}
		}
	}
	return out
}

func (p *pretend) searchOrders(w http.ResponseWriter, r *http.Request, _ []string) {
	q := r.URL.Query()
	after, err := time.Parse(time.RFC3339Nano, q.Get("lastUpdatedAfter"))
	if err != nil || q.Has("createdAfter") || q.Get("maxResultsPerPage") != "100" {
		refuse(w, http.StatusBadRequest, "InvalidInput", "exactly one of createdAfter and lastUpdatedAfter")
		return
	}
	until := time.Now().Add(-p.orderLag)
	var found []*pretendOrder
	for _, o := range p.orders {
		if !o.updated.Before(after) && !o.updated.After(until) && slices.Contains(strings.Split(q.Get("marketplaceIds"), ","), o.marketplace) &&
			(q.Get("fulfilledBy") == "" || q.Get("fulfilledBy") == o.by) {
			found = append(found, o)
		}
	}
	from := 0
	if token := q.Get("paginationToken"); token != "" {
		n, rest, _ := strings.Cut(token, "|")
		from, _ = strconv.Atoi(n)
		if rest != q.Get("lastUpdatedAfter") {
			refuse(w, http.StatusBadRequest, "InvalidInput", "the parameters do not match the token, or it has expired")
			return
		}
	}
	out := map[string]any{"lastUpdatedBefore": until.UTC().Format(time.RFC3339Nano)}
	list := []any{}
	for _, o := range found[min(from, len(found)):min(from+p.orderPage, len(found))] {
		list = append(list, o.show(q.Get("includedData")))
	}
	out["orders"] = list
	if from+p.orderPage < len(found) {
		out["pagination"] = map[string]any{"nextToken": strconv.Itoa(from+p.orderPage) + "|" + q.Get("lastUpdatedAfter")}
	}
	answer(w, http.StatusOK, out)
}

func (p *pretend) findOrder(id string) *pretendOrder {
	for _, o := range p.orders {
		if o.id == id {
			return o
		}
	}
	return nil
}

func (p *pretend) getOrder(w http.ResponseWriter, r *http.Request, s []string) {
	o := p.findOrder(s[0])
	if o == nil {
		refuse(w, http.StatusNotFound, "NotFound", "no such order")
		return
	}
	answer(w, http.StatusOK, map[string]any{"order": o.show(r.URL.Query().Get("includedData"))})
}

func (p *pretend) confirm(w http.ResponseWriter, r *http.Request, s []string) {
	type unit struct {
		ID       string `json:"orderItemId"`
		Quantity int    `json:"quantity"`
	}
	b, ok := body[struct {
		MarketplaceID string `json:"marketplaceId"`
		Package       struct {
			Reference   string `json:"packageReferenceId"`
			CarrierCode string `json:"carrierCode"`
			CarrierName string `json:"carrierName"`
			Tracking    string `json:"trackingNumber"`
			ShipDate    string `json:"shipDate"`
			Items       []unit `json:"orderItems"`
		} `json:"packageDetail"`
	}](p, w, r)
	if !ok {
		return
	}
	o := p.findOrder(s[0])
	number, err := strconv.Atoi(b.Package.Reference)
	_, badDate := time.Parse(time.RFC3339, b.Package.ShipDate)
	if o == nil || err != nil || number < 1 || badDate != nil || b.Package.CarrierCode == "" || b.Package.CarrierCode == "Other" && b.Package.CarrierName == "" || b.MarketplaceID != o.marketplace {
		refuse(w, http.StatusBadRequest, "InvalidInput", "The input you have submitted is not valid.")
		return
	}
	var items []any
	for _, u := range b.Package.Items {
		for _, l := range o.lines {
			if l.id == u.ID && u.Quantity <= l.unshipped {
				l.shipped += u.Quantity
				l.unshipped -= u.Quantity
				items = append(items, map[string]any{"orderItemId": u.ID, "quantity": u.Quantity})
			}
		}
	}
	o.packages = append(o.packages, map[string]any{"packageReferenceId": b.Package.Reference, "trackingNumber": b.Package.Tracking, "packageItems": items})
	o.updated = time.Now().UTC()
	p.changes++
	w.WriteHeader(http.StatusNoContent)
}

func (p *pretend) participations(w http.ResponseWriter, _ *http.Request, _ []string) {
	var list []any
	for id, participates := range map[string]bool{germany: true, france: false} {
		list = append(list, map[string]any{
			"marketplace":   map[string]any{"id": id, "countryCode": "DE", "name": "Amazon", "defaultCurrencyCode": "EUR", "defaultLanguageCode": "de_DE", "domainName": "www.amazon.de"},
			"participation": map[string]any{"isParticipating": participates, "hasSuspendedListings": false}, "storeName": "Suite",
		})
	}
	answer(w, http.StatusOK, map[string]any{"payload": list})
}

func (p *pretend) getDestinations(w http.ResponseWriter, _ *http.Request, _ []string) {
	list := []any{}
	for _, d := range p.destinations {
		list = append(list, d)
	}
	answer(w, http.StatusOK, map[string]any{"payload": list})
}

func (p *pretend) createDestination(w http.ResponseWriter, r *http.Request, _ []string) {
	b, ok := body[struct {
		Name     string         `json:"name"`
		Resource map[string]any `json:"resourceSpecification"`
	}](p, w, r)
	if !ok {
		return
	}
	d := map[string]any{"destinationId": "destination-" + p.id(), "name": b.Name, "resource": b.Resource}
	p.destinations = append(p.destinations, d)
	p.changes++
	answer(w, http.StatusOK, map[string]any{"payload": d})
}

func (p *pretend) getSubscription(w http.ResponseWriter, _ *http.Request, s []string) {
	to := p.subscriptions[s[0]]
	if to == "" {
		refuse(w, http.StatusNotFound, "NotFound", "no such subscription")
		return
	}
	answer(w, http.StatusOK, map[string]any{"payload": map[string]any{"subscriptionId": "subscription-" + s[0], "payloadVersion": "1.0", "destinationId": to}})
}

func (p *pretend) createSubscription(w http.ResponseWriter, r *http.Request, s []string) {
	b, ok := body[struct {
		PayloadVersion string         `json:"payloadVersion"`
		Destination    string         `json:"destinationId"`
		Directive      map[string]any `json:"processingDirective"`
	}](p, w, r)
	switch {
	case !ok:
	case p.subscriptions[s[0]] != "":
		refuse(w, http.StatusConflict, "Conflict", "the subscription exists")
	default:
		p.changes++
		p.subscriptions[s[0]], p.directives[s[0]] = b.Destination, b.Directive
		answer(w, http.StatusOK, map[string]any{"payload": map[string]any{"subscriptionId": "subscription-" + s[0], "payloadVersion": "1.0", "destinationId": b.Destination}})
	}
}

// sqs speaks the JSON protocol of SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-json.html.
func (p *pretend) sqs(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	fail := func(code, message string) {
		w.Header().Set("X-Amzn-Query-Error", code+";Sender")
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"__type":"com.amazonaws.sqs#%s","message":%q}`, code, message)
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential="+awsKeyID+"/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/sqs/aws4_request") {
		fail("InvalidClientTokenId", "The security token included in the request is invalid.")
		return
	}
	var in struct {
		QueueURL string `json:"QueueUrl"`
		Max      int    `json:"MaxNumberOfMessages"`
		Wait     int    `json:"WaitTimeSeconds"`
		Hidden   int    `json:"VisibilityTimeout"`
		Entries  []struct {
			ID      string `json:"Id"`
			Receipt string `json:"ReceiptHandle"`
		} `json:"Entries"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		p.t.Error(err)
	}
	if in.QueueURL != queueURL {
		fail("QueueDoesNotExist", "The specified queue does not exist.")
		return
	}
	out := map[string]any{}
	switch r.Header.Get("X-Amz-Target") {
	case "AmazonSQS.ReceiveMessage":
		list := []any{}
		for _, m := range p.messages {
			if !m.hidden && len(list) < in.Max {
				m.hidden, m.receipt = true, "receipt-"+p.id()
				list = append(list, map[string]any{"MessageId": m.id, "ReceiptHandle": m.receipt, "Body": m.body, "MD5OfBody": sum(m.body)})
			}
		}
		out["Messages"] = list
	case "AmazonSQS.DeleteMessageBatch":
		done := []any{}
		for _, e := range in.Entries {
			p.messages = slices.DeleteFunc(p.messages, func(m *pretendMessage) bool { return m.receipt == e.Receipt })
			done = append(done, map[string]any{"Id": e.ID})
		}
		out["Successful"], out["Failed"] = done, []any{}
	default:
		p.t.Errorf("SQS has no %q", r.Header.Get("X-Amz-Target"))
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	body, err := json.Marshal(out)
	if err != nil {
		p.t.Error(err)
	}
	_, _ = w.Write(body)
}
