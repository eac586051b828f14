package declared_test

import (
	"strings"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/declared"
	"github.com/truestock/truestock/connectors/declared/conformance"
)

func market(t testing.TB) *declared.File {
	t.Helper()
	f, err := declared.Load("testdata/market.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMarketplace(t *testing.T) {
	t.Parallel()
	f := market(t)
	connectortest.RunMarketplace(t, connectortest.Fixture{New: func(t *testing.T) connectortest.Server {
		stage, _ := f.Stage()
		t.Cleanup(func() {
			if err := stage.Err(); err != nil {
				t.Errorf("the pretend server: %v", err)
			}
		})
		return conformance.Server(f, stage)
	}})
}

// A form that is signed over its sorted parameters is a webhook; the system gets the words that it wants.
func TestFormsAreWebhooks(t *testing.T) {
	f := market(t)
	stage, _ := f.Stage()
	c, err := stage.Open(connectors.Env{})
	if err != nil {
		t.Fatal(err)
	}
	r := c.(connectors.WebhookReceiver)
	req := stage.Deliver("evt_1", someday, stage.Event())
	d, err := r.VerifyWebhook(req)
	if err != nil || d.Key != "evt_1" || d.Type != "changed" {
		t.Fatalf("%+v, %v", d, err)
	}
	n, err := r.DecodeWebhook(d, req.Body)
	if err != nil || len(n.Facts) != 1 || *n.Facts[0].Observation.Quantity != 3 || n.Facts[0].Observation.Ref.Item != "A" {
		t.Fatalf("%+v, %v", n, err)
	}
	a := c.(connectors.WebhookAnswerer)
	if yes, no := a.AnswerWebhook(connectors.ReceivedAgain), a.AnswerWebhook(connectors.RefusedSignature); yes.Status != 200 || string(yes.Body) != `{"code":0}` || string(no.Body) != `{"code":1}` {
		t.Errorf("%+v, %+v", yes, no)
	}
	if _, err := r.DecodeWebhook(d, []byte("id=1&event=changed&offer=A&shown=")); err == nil || !strings.Contains(err.Error(), "not a number") {
		t.Errorf("a quantity that is empty: %v", err)
	}
}
