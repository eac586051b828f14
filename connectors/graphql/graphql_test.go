package graphql_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/graphql"
	"github.com/truestock/truestock/connectors/rest"
)

const secret = "s3cr3t-word"

// What a failure means follows from its code, but below the field of a mutation it has happened, whatever the code.
func TestFailure(t *testing.T) {
	c, err := rest.New(rest.Config{BaseURL: "https://shop.example", Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	field := []jsontext.Value{jsontext.Value(`"orderCancel"`)}
	below := append(field, jsontext.Value(`"order"`))
	for name, try := range map[string]struct {
		request graphql.Request
		kind    connectors.ErrorKind
		path    []jsontext.Value
		want    connectors.ErrorKind
	}{
		"query":                              {graphql.Request{}, connectors.Rejected, below, connectors.Rejected},
		"mutation":                           {graphql.Request{Write: true}, connectors.Auth, nil, connectors.Auth},
		"mutation, its field":                {graphql.Request{Write: true}, connectors.Auth, field, connectors.Auth},
		"mutation, its answer":               {graphql.Request{Write: true}, connectors.Auth, below, connectors.Uncertain},
		"query of which nothing is known":    {graphql.Request{}, graphql.Request{}.Unknown(), nil, connectors.Retryable},
		"mutation of which nothing is known": {graphql.Request{}, graphql.Request{Write: true}.Unknown(), nil, connectors.Uncertain},
	} {
		try.request.Op = "try"
		err := try.request.Failure(c, try.kind, "CODE-"+secret, "the word is "+secret, try.path)
		e, ok := errors.AsType[*connectors.Error](err)
		if !ok || e.Kind != try.want || e.Op != "try" {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
	if err := (graphql.Request{Op: "try"}).Failure(c, connectors.Rejected, "", "", nil); !strings.Contains(err.Error(), "no reason") {
		t.Errorf("without a message: %v", err)
	}
}

func TestCall(t *testing.T) {
	call := graphql.Request{Op: "try", Document: "query A { b }", Write: true, Idempotent: true}.Call("/graphql")
	body, err := json.Marshal(call.Body)
	if err != nil || string(body) != `{"query":"query A { b }"}` {
		t.Errorf("the body is %s (%v)", body, err)
	}
	if call.Method != "POST" || call.Path != "/graphql" || !call.Write || !call.Idempotent || call.Op != "try" || call.Header == nil {
		t.Errorf("the call is %+v", call)
	}
}
