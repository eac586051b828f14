package fake

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/truestock/truestock/connectors/open"
)

// DropSubscriptions forgets every subscription, as shops do whose deliveries failed for too long, and loses what is still
// to be delivered. Nothing is sent until somebody subscribes again, or SendWebhooks says where to.
func (s *Shop) DropSubscriptions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscriptions = nil
	s.mail.mute()
}

// Subscriptions are the subscriptions that were made through the API, without their secrets.
func (s *Shop) Subscriptions() []open.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.withoutSecrets()
}

func (s *Shop) withoutSecrets() []open.Subscription {
	out := make([]open.Subscription, len(s.subscriptions))
	for i, w := range s.subscriptions {
		out[i] = open.Subscription{ID: w.ID, URL: w.URL, Types: slices.Clone(w.Types)}
	}
	return out
}

func (s *Shop) serveSubscriptions(*http.Request, []byte, Fault) (any, *open.Problem) {
	return open.SubscriptionsAnswer{Webhooks: s.withoutSecrets()}, nil
}

// serveSubscribe has types of events sent to an address, in addition to those that are sent there.
func (s *Shop) serveSubscribe(_ *http.Request, body []byte, _ Fault) (any, *open.Problem) {
	w, p := decode[open.Subscription](body)
	if p != nil {
		return nil, p
	}
	if w.URL == "" || w.Secret == "" {
		return nil, problem(http.StatusUnprocessableEntity, "bad_subscription", "url and secret are needed")
	}
	at := slices.IndexFunc(s.subscriptions, func(o open.Subscription) bool { return o.URL == w.URL })
	if at < 0 {
		w.ID = fmt.Sprintf("hook-%d", len(s.subscriptions)+1)
		s.subscriptions = append(s.subscriptions, w)
		at = len(s.subscriptions) - 1
	} else if held := &s.subscriptions[at]; len(held.Types) > 0 {
		for _, typ := range w.Types {
			if !slices.Contains(held.Types, typ) {
				held.Types = append(held.Types, typ)
			}
		}
		if len(w.Types) == 0 {
			held.Types = nil
		}
	}
	made := s.subscriptions[at]
	if err := s.mail.subscribe(made.URL, w.Secret, made.Types); err != nil {
		return nil, problem(http.StatusUnprocessableEntity, "bad_subscription", "%v", err)
	}
	return open.Subscription{ID: made.ID, URL: made.URL, Types: made.Types}, nil
}
