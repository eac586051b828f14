package main_test

import (
	"fmt"
	"strings"
	"testing"
)

// What is promised for longer than stuck_commitment, and of which the warehouse says nothing, waits for a person until
// the warehouse says something.
func TestSilenceAboutAnOrderIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		tradingHouse(t, h)
		h.settings[0] = `timings: {look: 100ms, poll: 100ms, retry_min: 100ms, retry_max: 1s, request: 5s, request_life: 1s, stuck_commitment: 1s}`
		s := h.start()
		s.imports(tradingMapping...)
		h.shows("a", "set", 4)
		order, ok := h.shops["a"].Buy("set", 1)
		if !ok {
			t.Fatal("the shop refuses the order")
		}
		about := func() (messages []string) {
			for _, i := range all[struct {
				Kind    string `json:"kind"`
				Subject string `json:"subject"`
				Message string `json:"message"`
			}](s, "/incidents?open=true") {
				if i.Kind == "commitment_stuck" && i.Subject == "a:"+order {
					messages = append(messages, i.Message)
				}
			}
			return messages
		}
		h.eventually("the silence is an incident", func() error {
			m := about()
			if len(m) != 1 || !strings.Contains(m[0], "2 units of TEA") || !strings.Contains(m[0], "1 units of POT") {
				return fmt.Errorf("the incidents are %q", m)
			}
			return nil
		})
		if _, ok := h.warehouse.Ship("a:" + order); !ok {
			t.Fatal("the warehouse ships nothing")
		}
		h.eventually("the shipment ends it", func() error {
			if m := about(); len(m) != 0 {
				return fmt.Errorf("still open: %q", m)
			}
			return nil
		})
		h.shows("a", "set", 3)
		verified(s)
	})
}
