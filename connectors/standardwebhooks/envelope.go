package standardwebhooks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// scanEnvelope checks that body is one JSON object with a type, and returns the type. What is inside data is not
// looked at: that is for the connector's DecodeWebhook, so that a bad event is stored and parked instead of being lost. Duplicate
// names are refused at the top only, for the same reason.
func scanEnvelope(body []byte) (string, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != '{' {
		return "", errors.New("the body is not a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return "", notJSON(err)
	}
	seen := make([]string, 0, 8)
	kind := ""
	for d.PeekKind() == '"' {
		name, err := readString(d)
		if err != nil {
			return "", err
		}
		if seen, err = addName(seen, name); err != nil {
			return "", err
		}
		if err := checkMember(d, name, &kind); err != nil {
			return "", err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return "", notJSON(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return "", errors.New("something follows the JSON object")
	}
	if kind == "" {
		return "", errors.New("type is missing")
	}
	return kind, nil
}

// maxMembers bounds the top-level names of an envelope, which are compared with each other.
const maxMembers = 64

func addName(seen []string, name string) ([]string, error) {
	if slices.Contains(seen, name) {
		return nil, fmt.Errorf("the name %.40q stands twice", name)
	}
	if len(seen) == maxMembers {
		return nil, fmt.Errorf("the envelope has more than %d members", maxMembers)
	}
	return append(seen, name), nil
}

// checkMember reads the value of one member of the envelope; of type it keeps the value.
func checkMember(d *jsontext.Decoder, name string, kind *string) error {
	switch name {
	case "type":
		if d.PeekKind() != '"' {
			return errors.New("type is not a string")
		}
		text, err := readString(d)
		if err != nil {
			return err
		}
		if text == "" || len(text) > maxIdentity {
			return fmt.Errorf("type has %d bytes; it must have from 1 to %d", len(text), maxIdentity)
		}
		*kind = text
		return nil
	case "timestamp":
		if d.PeekKind() != '"' {
			return errors.New("timestamp is not a string")
		}
		text, err := readString(d)
		if err != nil {
			return err
		}
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return errors.New("timestamp is not an instant in RFC 3339")
		}
		return nil
	case "data":
		if d.PeekKind() != '{' {
			return errors.New("data is not an object")
		}
	}
	if err := d.SkipValue(); err != nil {
		return notJSON(err)
	}
	return nil
}

func readString(d *jsontext.Decoder) (string, error) {
	t, err := d.ReadToken()
	if err != nil {
		return "", notJSON(err)
	}
	return t.String(), nil
}

func notJSON(err error) error { return fmt.Errorf("the body is not JSON: %w", err) }
