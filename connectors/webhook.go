package connectors

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// WebhookReceiver is implemented by a connection whose system sends webhooks.
type WebhookReceiver interface {
	// VerifyWebhook authenticates a delivery by its raw bytes, before anything parses them, and then checks the
	// envelope. Its error is ErrSignature or ErrEnvelope, wrapped with the reason, or one of a connection where what is
	// checked with cannot be had now; none tells a secret.
	VerifyWebhook(r Request) (Delivery, error)
	// DecodeWebhook turns a stored delivery into facts. It is pure, so that a stored event can be decoded again.
	DecodeWebhook(d Delivery, body []byte) (Notice, error)
}

// The optional interfaces of a WebhookReceiver.
type (
	// Handshaker answers requests by which a system only finds out whether somebody listens, such as a ping or a
	// challenge. They come unsigned as often as not; nothing of them is stored.
	Handshaker interface {
		// Handshake returns the answer, or false where the request is an ordinary delivery.
		Handshake(r Request) (Reply, bool)
	}
	// WebhookAnswerer words the answers to deliveries for a system that wants them otherwise than plain HTTP has them.
	WebhookAnswerer interface {
		AnswerWebhook(became Reception) Reply
	}
	// Admitter words the decisions on deliveries that ask. It is pure: of the same delivery and decision it makes the same
	// reply.
	Admitter interface {
		AnswerAdmission(d Delivery, a Admission) Reply
	}
	// AdmissionWriter tells the platform a decision by a call, before its request is answered: for platforms that take no
	// decision in the reply. The same decision again changes nothing. When it fails, the request is answered as one that
	// cannot be stored now, so that it comes again; the decision stands.
	AdmissionWriter interface {
		WriteAdmission(ctx context.Context, d Delivery, a Admission) error
	}
	// WebhookCompleter fetches what a delivery only points to, before it is stored: for systems that ask, and leave the
	// content of the question to be fetched. The same delivery completed again must have the same Body. Its error is one of
	// a connection; then nothing is stored.
	WebhookCompleter interface {
		CompleteWebhook(ctx context.Context, d Delivery) (Delivery, error)
	}
	// WebhookMethods names the HTTP methods of deliveries, where they are not just POST.
	WebhookMethods interface {
		WebhookMethods() []string
	}
)

// DeliveryQueue is implemented by a connection whose system puts its events into a queue, from which they are fetched, in
// the place of sending webhooks. What is fetched is stored like a webhook, and only then taken out of the queue: an event
// that was fetched and not stored comes again.
type DeliveryQueue interface {
	// FetchDeliveries returns some of what waits in the queue, each with its Body. It waits some seconds for the first, and
	// returns none where nothing came. What is not acknowledged comes again, later.
	FetchDeliveries(ctx context.Context) ([]Fetched, error)
	// Acknowledge takes what is stored out of the queue. What it could not take out comes again, with the same Key.
	Acknowledge(ctx context.Context, stored []Fetched) error
	// DecodeWebhook is that of a WebhookReceiver.
	DecodeWebhook(d Delivery, body []byte) (Notice, error)
}

// Fetched is a delivery from a DeliveryQueue. Receipt is what the queue knows it by while it is out.
type Fetched struct {
	Delivery
	Receipt string
}

// The errors of WebhookReceiver.VerifyWebhook about a delivery.
var (
	// ErrSignature: the delivery is not from who it says, or too old.
	ErrSignature = errors.New("signature refused")
	// ErrEnvelope: the delivery is authentic, but not an event.
	ErrEnvelope = errors.New("not an event")
)

// Request is a request to the address of a connection's webhooks, as it came.
type Request struct {
	Method string
	// RawQuery is what stands behind the ? of the address, still escaped.
	RawQuery string
	Header   http.Header
	Body     []byte
	// At is when it came, by our clock.
	At time.Time
}

// Query is the parsed RawQuery. What cannot be parsed is left out.
func (r Request) Query() url.Values {
	values, _ := url.ParseQuery(r.RawQuery)
	return values
}

// Delivery is a webhook delivery that was verified.
type Delivery struct {
	// Key is the sender's identity for the delivery, the same on every try: what duplicates are recognised by.
	Key string `json:"key"`
	// Type is the sender's word for what happened.
	Type string `json:"type"`
	// Secret is the ordinal of the active secret that matched, from 0; shown to operators during a rotation.
	Secret int `json:"secret"`
	// Body is what is stored and decoded of a delivery whose content is not, or not only, in the body of the request. Nil
	// means that body.
	Body []byte `json:"-"`
}

// Notice is a webhook understood.
type Notice struct {
	// Facts may be empty: many webhooks only say "look".
	Facts []Fact
	// Pull asks for a look at the source: its levels, movements, listings or orders.
	Pull bool
	// Asks says that the sender waits for the answer whether it may sell what its one fact, an order, contains. The
	// connection is an Admitter then.
	Asks bool
}

// Decision is the answer to somebody who asks before he sells.
type Decision string

// The decisions.
const (
	Admit  Decision = "admit"
	Refuse Decision = "refuse"
)

// Admission is the decision on one question, with the reason for people. The same question again has the same decision.
type Admission struct {
	Decision Decision
	Reason   string
	At       time.Time
}

// Reception is what became of a delivery.
type Reception string

// The receptions.
const (
	ReceivedNew        Reception = "new"         // stored
	ReceivedAgain      Reception = "again"       // stored before
	ReceivedConflict   Reception = "conflict"    // stored before with another content; not stored, an incident is open
	RefusedSignature   Reception = "signature"   // ErrSignature
	RefusedEnvelope    Reception = "envelope"    // ErrEnvelope
	RefusedUnavailable Reception = "unavailable" // it cannot be stored now; the sender must send it again
)

// Reply is an answer to a request, in the words of the outside system.
type Reply struct {
	Status int
	// Header may be nil.
	Header http.Header
	Body   []byte
}
