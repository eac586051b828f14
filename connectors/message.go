package connectors

import (
	"encoding/json"
	"time"
)

// Message is what people are told: the form in which the engine gives it to whoever brings it to them.
type Message struct {
	// ID is the same at every try, so that a receiver who knows it has the message already.
	ID string
	// Type is a word for machines, such as "stock.low".
	Type string
	// Title is one line, Text the whole for people.
	Title, Text string
	// Data is a JSON object for machines.
	Data json.RawMessage
	// At is when it happened.
	At time.Time
}
