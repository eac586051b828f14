package fake

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Target is where a server sends its webhooks.
type Target struct {
	// URL takes the deliveries.
	URL string
	// Secret signs them by the scheme of Standard Webhooks: "whsec_" and the key in base64.
	Secret string
	// Transport carries them; nil means the network.
	Transport http.RoundTripper
	// Types limits what is sent; nil sends every type of event that the server has.
	Types []string
	// Workers is how many deliveries are on the way at once; zero means 4. One keeps the order of the events as long
	// as no fault is made and the receiver takes every one.
	Workers int
	// Retry is how long after each refused try the next one follows; after the last the delivery is given up. Nil
	// means DefaultRetry.
	Retry []time.Duration
	// Timeout bounds one try; zero means 10 s.
	Timeout time.Duration
}

// DefaultRetry is the schedule of a Target that has none.
var DefaultRetry = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second}

// maxQueue bounds the deliveries that wait. What comes on top is lost and counted as WebhookOverflow.
const maxQueue = 200_000

// delivery is one webhook on its way. Its id is the same on every try.
type delivery struct {
	id      string
	body    []byte
	due     time.Time
	seq     uint64
	tries   int
	delayed bool // by a fault
	index   int  // in the queue; -1 when it is not there
}

// courier sends the webhooks of one server. It has a mutex of its own, taken inside the server's and never the other
// way round.
type courier struct {
	mu       sync.Mutex
	target   Target
	signer   *standardwebhooks.Webhook
	queue    queue
	held     *delivery // by WebhookReorder, until the next event
	seq      uint64
	inFlight int
	counts   map[Fault]int
	running  bool
	closed   bool
	own      *http.Transport // made here, so its idle connections end here

	wake chan struct{}
	done chan struct{}
	wg   sync.WaitGroup
}

func newCourier() *courier {
	return &courier{counts: map[Fault]int{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

func (c *courier) aim(t Target) error {
	signer, err := standardwebhooks.NewWebhook(t.Secret)
	if err != nil {
		return errors.New("the webhook secret is not base64 after whsec_")
	}
	if t.Workers <= 0 {
		t.Workers = 4
	}
	if t.Retry == nil {
		t.Retry = DefaultRetry
	}
	if t.Timeout <= 0 {
		t.Timeout = 10 * time.Second
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if t.Transport == nil {
		if c.own == nil {
			c.own = &http.Transport{MaxIdleConnsPerHost: t.Workers, IdleConnTimeout: time.Minute}
		}
		t.Transport = c.own
	}
	c.target, c.signer = t, signer
	if !c.running {
		c.running = true
		c.wg.Go(c.run)
	}
	return nil
}

// subscribe aims at another address; how deliveries travel and are tried again stays.
func (c *courier) subscribe(url, secret string, types []string) error {
	c.mu.Lock()
	t := c.target
	c.mu.Unlock()
	t.URL, t.Secret, t.Types = url, secret, nil
	if len(types) > 0 {
		t.Types = slices.Clone(types)
	}
	return c.aim(t)
}

// mute sends nothing more until aim, and loses what is queued.
func (c *courier) mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[WebhookDrop] += len(c.queue)
	for _, d := range c.queue {
		d.index = -1
	}
	c.queue, c.held = nil, nil
	c.target.Types = []string{}
}

// wants says whether events of the type are sent at all, so that nobody renders what nobody gets.
func (c *courier) wants(typ string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running && !c.closed && (c.target.Types == nil || slices.Contains(c.target.Types, typ))
}

// post queues one event, with the fault that was drawn for it.
func (c *courier) post(id, reminted string, body []byte, fault Fault, r *rand.Rand, delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch fault {
	case WebhookDrop:
	case WebhookDelay:
		c.add(&delivery{id: id, body: body, due: now.Add(upTo(r, delay)), delayed: true})
	case WebhookDuplicate:
		c.add(&delivery{id: id, body: body, due: now})
		c.add(&delivery{id: id, body: body, due: now.Add(upTo(r, delay)), delayed: true})
	case WebhookRemint:
		c.add(&delivery{id: id, body: body, due: now})
		c.add(&delivery{id: reminted, body: body, due: now.Add(upTo(r, delay)), delayed: true})
	case WebhookReorder:
		c.release(now)
		c.held = &delivery{id: id, body: body, due: now.Add(delay), delayed: true}
		c.add(c.held)
	default:
		c.add(&delivery{id: id, body: body, due: now})
		c.release(now)
	}
	c.signal()
}

// release lets the held delivery go, behind everything that is queued now.
func (c *courier) release(now time.Time) {
	if h := c.held; h != nil && h.index >= 0 && h.due.After(now) {
		c.seq++
		h.due, h.seq, h.delayed = now, c.seq, false
		heap.Fix(&c.queue, h.index)
	}
	c.held = nil
}

func (c *courier) add(d *delivery) {
	d.index = -1
	if len(c.queue) >= maxQueue {
		c.counts[WebhookOverflow]++
		return
	}
	c.seq++
	d.seq = c.seq
	heap.Push(&c.queue, d)
}

// heal sends, or loses, what a fault delayed, and sends at once what waits for its next try.
func (c *courier) heal(drop bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	kept := c.queue[:0]
	for _, d := range c.queue {
		if d.delayed && drop {
			c.counts[WebhookDrop]++
			continue
		}
		d.due, d.delayed = now, false
		kept = append(kept, d)
	}
	clear(c.queue[len(kept):])
	c.queue, c.held = kept, nil
	for i, d := range c.queue {
		d.index = i
	}
	heap.Init(&c.queue)
	c.signal()
}

// pending is how many deliveries wait or are on the way.
func (c *courier) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) + c.inFlight
}

func (c *courier) close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	own := c.own
	close(c.done)
	c.mu.Unlock()
	c.wg.Wait()
	if own != nil {
		own.CloseIdleConnections()
	}
}

func (c *courier) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run starts deliveries when they are due and a worker is free, until close.
func (c *courier) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-c.done:
			return
		default:
		}
		d, wait := c.next()
		if d != nil {
			c.wg.Go(func() { c.deliver(ctx, d) })
			continue
		}
		timer.Reset(wait)
		select {
		case <-c.done:
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// next takes the delivery that is due; without one it tells how long to wait for it.
func (c *courier) next() (*delivery, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 || c.inFlight >= c.target.Workers {
		return nil, time.Hour
	}
	if wait := time.Until(c.queue[0].due); wait > 0 {
		return nil, wait
	}
	c.inFlight++
	return heap.Pop(&c.queue).(*delivery), 0
}

// deliver makes one try, and puts the delivery back for the next one when the receiver did not take it.
func (c *courier) deliver(ctx context.Context, d *delivery) {
	c.mu.Lock()
	target, signer := c.target, c.signer
	c.mu.Unlock()
	err := send(ctx, target, signer, d)

	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.signal()
	c.inFlight--
	d.tries++
	switch {
	case err == nil:
		c.counts[WebhookDelivered]++
	case d.tries > len(target.Retry):
		c.counts[WebhookGivenUp]++
	case !c.closed:
		d.due, d.delayed = time.Now().Add(target.Retry[d.tries-1]), false
		heap.Push(&c.queue, d)
	}
}

func send(ctx context.Context, t Target, signer *standardwebhooks.Webhook, d *delivery) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	now := time.Now()
	signature, err := signer.Sign(d.id, now, d.body)
	if err != nil {
		return fmt.Errorf("sign webhook %s: %w", d.id, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(d.body))
	if err != nil {
		return fmt.Errorf("make the request of webhook %s: %w", d.id, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(standardwebhooks.HeaderWebhookID, d.id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	resp, err := t.Transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("send webhook %s: %w", d.id, err)
	}
	// Read to the end, so that the connection is used again; what the receiver says beside the status is not needed.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("send webhook %s: answered %d", d.id, resp.StatusCode)
	}
	return nil
}

// queue is a heap of deliveries, the one due first on top; of those due together the one posted first.
type queue []*delivery

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].seq < q[j].seq
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	d := x.(*delivery)
	d.index = len(*q)
	*q = append(*q, d)
}

func (q *queue) Pop() any {
	old := *q
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	d.index = -1
	return d
}
