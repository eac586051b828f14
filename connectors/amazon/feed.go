package amazon

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

const (
	feedType = "JSON_LISTINGS_FEED"
	feedJSON = "application/json; charset=UTF-8"
	// feedLook is how often a feed is asked for at most, feedLife for how long it is waited for.
	feedLook = 5 * time.Second
	feedLife = 6 * time.Hour
)

// flights are the feeds that Amazon has not processed yet, and what became of single lines of those that it has.
type flights struct {
	mu sync.Mutex
	// known is false while feeds of an earlier process, or of a call without an answer, may be on their way.
	known    bool
	flying   []*flight
	verdicts map[string]verdict
}

// flight is one feed. Its SKUs are nil where this process did not send it: it may change any listing.
type flight struct {
	id           string
	skus         map[string]stock.Quantity
	messages     []string // the SKU of each message
	since, asked time.Time
}

// of picks the errors about a SKU. One that names neither a SKU nor a message is about the whole feed.
func (f *flight) of(sku string, issues []issue) []issue {
	var own []issue
	for _, i := range issues {
		about := i.SKU
		if about == "" && i.MessageID >= 1 && i.MessageID <= len(f.messages) {
			about = f.messages[i.MessageID-1]
		}
		if i.Severity == "ERROR" && (about == sku || about == "") {
			own = append(own, i)
		}
	}
	return own
}

// verdict is why a feed did not show a quantity.
type verdict struct {
	quantity stock.Quantity
	err      error
}

// holds returns why the listing must not be written now: a feed is about to change it, or the last one could not show this
// very quantity. The latter is told once.
func (f *flights) holds(op, sku string, quantity stock.Quantity) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, flying := range f.flying {
		if _, ours := flying.skus[sku]; ours || flying.skus == nil {
			return &connectors.Error{Kind: connectors.Throttled, Op: op, RetryAt: time.Now().Add(retryInFlight).UTC(),
				Err: fmt.Errorf("feed %s, which Amazon has not processed yet, is about to change %s", flying.id, sku)}
		}
	}
	v, judged := f.verdicts[sku]
	delete(f.verdicts, sku)
	if judged && v.quantity == quantity {
		return v.err
	}
	return nil
}

// sendFeed writes the lines as one feed: https://developer-docs.amazon.com/sp-api/docs/feeds-api-v2021-06-30-use-case-guide.
func (m *market) sendFeed(ctx context.Context, op string, lines []*line) error {
	content := feedDocument{Header: feedHeader{SellerID: m.seller, Version: "2.0"}}
	sent := &flight{skus: make(map[string]stock.Quantity, len(lines))}
	for i, l := range lines {
		sent.skus[l.write.Ref.Item] = l.write.Quantity
		sent.messages = append(sent.messages, l.write.Ref.Item)
		content.Messages = append(content.Messages, feedMessage{
			MessageID: i + 1, SKU: l.write.Ref.Item, OperationType: "PATCH", ProductType: productType, Patches: patches(l.write.Quantity),
		})
	}
	var upload document
	if err := m.do(ctx, call{op: op, operation: createFeedDocument, path: "/feeds/2021-06-30/documents", body: createDocumentRequest{feedJSON}}, &upload); err != nil {
		return err
	}
	if err := m.transfer(ctx, op, upload.URL, http.MethodPut, content, nil); err != nil {
		return err
	}
	var made feed
	err := m.do(ctx, call{
		op: op, operation: createFeed, path: "/feeds/2021-06-30/feeds", write: true,
		body: createFeedRequest{FeedType: feedType, MarketplaceIDs: m.marketplaces[:1], InputDocumentID: upload.ID},
	}, &made)
	if err == nil && made.ID == "" {
		err = m.refuse(connectors.Uncertain, op, "", "Amazon did not say which feed it made")
	}
	m.feeds.mu.Lock()
	defer m.feeds.mu.Unlock()
	if err != nil {
		m.feeds.known = m.feeds.known && connectors.KindOf(err) != connectors.Uncertain
		return err
	}
	sent.id, sent.since = made.ID, time.Now()
	m.feeds.flying = append(m.feeds.flying, sent)
	for _, l := range lines {
		l.result = connectors.Result{Outcome: connectors.Accepted}
	}
	return nil
}

// settleFeeds asks what became of the feeds that are on their way. What cannot be asked stays on its way; only a refusal of
// the credentials, and a shutdown, are errors.
func (m *market) settleFeeds(ctx context.Context, op string) error {
	if m.feedFrom == 0 {
		return nil
	}
	m.feedTurn.Lock()
	defer m.feedTurn.Unlock()
	m.feeds.mu.Lock()
	known, flying := m.feeds.known, slices.Clone(m.feeds.flying)
	m.feeds.mu.Unlock()
	if !known {
		var list feeds
		err := m.do(ctx, call{op: op, operation: getFeeds, path: "/feeds/2021-06-30/feeds", query: url.Values{
			"feedTypes": {feedType}, "processingStatuses": {"IN_QUEUE,IN_PROGRESS"}, "pageSize": {"100"},
		}}, &list)
		if kind := connectors.KindOf(err); err != nil && (kind == "" || kind == connectors.Auth) {
			return err
		}
		if err == nil {
			m.feeds.mu.Lock()
			m.feeds.known = true
			for _, f := range list.Feeds {
				if !slices.ContainsFunc(m.feeds.flying, func(known *flight) bool { return known.id == f.ID }) {
					m.feeds.flying = append(m.feeds.flying, &flight{id: f.ID, since: time.Now(), asked: time.Now()})
				}
			}
			m.feeds.mu.Unlock()
		}
	}
	for _, f := range flying {
		if time.Since(f.asked) < feedLook {
			continue
		}
		f.asked = time.Now()
		if err := m.settleFeed(ctx, op, f); err != nil && (connectors.KindOf(err) == "" || connectors.KindOf(err) == connectors.Auth) {
			return err
		}
	}
	return nil
}

// settleFeed asks for one feed. Once it is processed, its report tells the lines that were refused; the others are read
// back like any write.
func (m *market) settleFeed(ctx context.Context, op string, f *flight) error {
	var got feed
	err := m.do(ctx, call{op: op, operation: getFeed, path: "/feeds/2021-06-30/feeds/" + url.PathEscape(f.id)}, &got)
	over := time.Since(f.since) > feedLife || notFound(err)
	if err != nil && !over {
		return err
	}
	switch got.Status {
	case "DONE", "FATAL", "CANCELLED":
	default:
		if !over {
			return nil
		}
	}
	var issues []issue
	if got.ResultDocumentID != "" && f.skus != nil {
		// Without its report, the lines that were refused are found by reading back, like all.
		if issues, err = m.feedIssues(ctx, op, got.ResultDocumentID); err != nil && connectors.KindOf(err) == "" {
			return err
		}
	}
	m.feeds.mu.Lock()
	defer m.feeds.mu.Unlock()
	m.feeds.flying = slices.DeleteFunc(m.feeds.flying, func(other *flight) bool { return other == f })
	for sku, units := range f.skus {
		if own := f.of(sku, issues); len(own) > 0 {
			m.feeds.verdicts[sku] = verdict{units, m.refuse(connectors.Rejected, op, own[0].Code, fmt.Sprintf("%s, in feed %s: %s", sku, f.id, issuesText(own)))}
		}
	}
	return nil
}

// feedIssues reads a processing report.
func (m *market) feedIssues(ctx context.Context, op, id string) ([]issue, error) {
	var where document
	if err := m.do(ctx, call{op: op, operation: getFeedDocument, path: "/feeds/2021-06-30/documents/" + url.PathEscape(id)}, &where); err != nil {
		return nil, err
	}
	var report feedReport
	err := m.transfer(ctx, op, where.URL, http.MethodGet, nil, &report)
	return report.Issues, err
}

// transfer sends or fetches a document at an address that Amazon gave, which is good for five minutes and needs no token.
func (m *market) transfer(ctx context.Context, op, address, method string, body, out any) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return connectors.Rejectedf(op, "", "Amazon gave no address for a document; the answer is not understood")
	}
	var secrets []string
	for _, values := range u.Query() {
		for _, v := range values {
			if len(v) >= 16 { // the parts of a signature
				secrets = append(secrets, v)
			}
		}
	}
	client, err := rest.New(rest.Config{
		BaseURL: u.Scheme + "://" + u.Host, Transport: unzipping{m.transport}, Log: m.log, Timeout: m.timeout, Secrets: secrets,
	})
	if err != nil {
		return connectors.Rejectedf(op, "", "the address of a document: %w", err)
	}
	defer func() { _ = client.Close() }()
	err = client.Do(ctx, rest.Call{
		Op: op, Method: method, Path: u.EscapedPath(), Query: u.Query(), Header: http.Header{"Content-Type": {feedJSON}}, Body: body,
	}, out)
	if e, ok := errors.AsType[*connectors.Error](err); ok && (e.Kind == connectors.Auth || e.Kind == connectors.Unmapped) {
		// The address has ended. That says nothing of the credentials, or of a listing.
		ended := *e
		ended.Kind = connectors.Retryable
		return &ended
	}
	return err
}

// unzipping unzips answers that are gzip files, as processing reports are, and not only packed for the way (FeedDocument,
// compressionAlgorithm).
type unzipping struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (u unzipping) RoundTrip(req *http.Request) (*http.Response, error) {
	next := u.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	buffered := bufio.NewReader(resp.Body)
	body := struct {
		io.Reader
		io.Closer
	}{buffered, resp.Body}
	if magic, _ := buffered.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("unzip the document: %w", err), resp.Body.Close())
		}
		body.Reader, resp.ContentLength = unzipped, -1
	}
	resp.Body = body
	return resp, nil
}
