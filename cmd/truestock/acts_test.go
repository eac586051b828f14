package main_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What people do through the API stands in the audit trail with who did it; what was refused does not.
func TestActsOfPeopleAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		s := smallHouse(t, h, "on_hand", "TEA", "POT")
		s.deliver("warehouse", "opening", levelEvent("TEA", 10, 1))
		s.deliver("warehouse", "pots", levelEvent("POT", 4, 1))
		s.deliver("shop", "order", orderEvent("O", 1, "TEA", 3, 0, 0))
		s.deliver("shop", "strange", orderEvent("S", 1, "NEW", 1, 0, 0))
		h.shows("shop", "TEA", 7)
		s.settled()
		before := len(all[auditEntry](s, "/audit"))

		ask := func(status int, method, path, contentType, body string) answer {
			t.Helper()
			a := s.call(method, path, contentType, body)
			if a.status != status {
				t.Fatalf("%s %s is answered %d, want %d: %s", method, path, a.status, status, a.body)
			}
			return a
		}
		const plain = "application/json"
		hidden := get[struct {
			Data []struct {
				Item   string `json:"item"`
				Orders int    `json:"orders"`
				Packs  int    `json:"packs"`
			} `json:"data"`
		}](s, "/mappings/unmapped")
		if len(hidden.Data) != 1 || hidden.Data[0].Item != "NEW" || hidden.Data[0].Orders != 1 || hidden.Data[0].Packs != 1 {
			t.Errorf("the hidden demand is %+v, want one order of NEW", hidden)
		}
		if r := h.must(exitOK, "mappings", "unmapped"); !strings.Contains(r.stdout, "NEW") {
			t.Errorf("the command prints %q", r.stdout)
		}
		preview := ask(http.StatusOK, http.MethodPost, "/mappings/preview", "text/csv", mappingCSV("shop,TEA,,TEA,2"))
		if !strings.Contains(preview.body, `"then":3`) {
			t.Errorf("the preview says %s", preview.body)
		}
		ask(http.StatusUnprocessableEntity, http.MethodPost, "/mappings/merge", plain, `{"from":"TEA","to":"NOBODY"}`)
		ask(http.StatusNotFound, http.MethodPost, "/mappings/rename", plain, `{"from":"NOBODY","to":"X"}`)
		ask(http.StatusOK, http.MethodPost, "/mappings/rename", plain, `{"from":"TEA","to":"CHAI"}`)
		for _, name := range []string{"TEA", "CHAI"} {
			if v := get[struct {
				SKU       string `json:"sku"`
				OnHand    int64  `json:"on_hand"`
				Committed int64  `json:"committed"`
			}](s, "/items/"+name); v.SKU != "CHAI" || v.OnHand != 10 || v.Committed != 3 {
				t.Errorf("/items/%s answers %+v, want CHAI with 10 units, 3 of them promised", name, v)
			}
		}
		ask(http.StatusOK, http.MethodPost, "/mappings/merge", plain, `{"from":"POT","to":"CHAI"}`)
		if refused := ask(http.StatusUnprocessableEntity, http.MethodDelete, "/mappings/shop/TEA", "", ""); !strings.Contains(refused.body, "open orders") {
			t.Errorf("deleting with an open order says %s", refused.body)
		}
		ask(http.StatusNoContent, http.MethodDelete, "/mappings/shop/TEA?force=true", "", "")
		ask(http.StatusNotFound, http.MethodDelete, "/mappings/shop/TEA?force=true", "", "")
		ask(http.StatusOK, http.MethodPost, "/mappings/import", "text/csv", mappingCSV("shop,TEA,,CHAI,1"))
		ask(http.StatusUnprocessableEntity, http.MethodPost, "/mappings/import", "text/csv", mappingCSV("shop,TEA,,CHAI,0"))
		ask(http.StatusOK, http.MethodPost, "/connections/shop/pause", "", "")
		ask(http.StatusOK, http.MethodPost, "/connections/shop/resume", "", "")
		ask(http.StatusCreated, http.MethodPost, "/tokens", plain, `{"name":"till","scope":"read"}`)
		var till string
		for _, token := range get[struct {
			Data []struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"data"`
		}](s, "/tokens").Data {
			if token.Name == "till" {
				till = token.ID
			}
		}
		ask(http.StatusNoContent, http.MethodDelete, "/tokens/"+till, "", "")
		parked := all[struct {
			ID string `json:"id"`
		}](s, "/events?state=parked")
		if len(parked) == 0 {
			t.Fatal("nothing is parked")
		}
		ask(http.StatusOK, http.MethodPost, "/events/"+parked[0].ID+"/replay", "", "")
		h.must(exitOK, "mappings", "rename", "CHAI", "TSCHAI")

		var acts []string
		by := map[string]bool{}
		for _, a := range all[auditEntry](s, "/audit")[before:] {
			acts = append(acts, a.Action+": "+a.Subject)
			by[a.By] = true
		}
		want := []string{"sku renamed: sku TEA", "sku merged: sku POT", "mapping deleted: listing shop:TEA", "mapping imported: mapping",
			"connection paused: connection shop", "connection resumed: connection shop", "token created: token " + till, "token revoked: token " + till,
			"event replayed: event " + parked[0].ID, "sku renamed: sku CHAI"}
		if !slices.Equal(acts, want) {
			t.Errorf("the audit trail has\n%s\nwant\n%s", strings.Join(acts, "\n"), strings.Join(want, "\n"))
		}
		if len(by) != 2 {
			t.Errorf("the acts are by %v, want the token and the command line", by)
		}
		verified(s)
	})
}

type auditEntry struct {
	By      string `json:"by"`
	Action  string `json:"action"`
	Subject string `json:"subject"`
}
