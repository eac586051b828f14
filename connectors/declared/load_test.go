package declared_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/declared"
)

var someday = time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)

// A file that makes no sense is refused with its line, the field and the reason.
func TestBadFilesAreRefused(t *testing.T) {
	small, err := os.ReadFile(filepath.Join("examples", "small.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ old, new, want string }{
		"an unknown field":        {"basis: on_hand", "basys: on_hand", ":5: basys: unknown field"},
		"a field twice":           {"role: system_of_record", "role: system_of_record\nrole: marketplace", ":5:"},
		"no YAML":                 {"settings:", "settings: [", ".yaml:"},
		"a wrong expression":      {"ok: .status == \"ok\"", "ok: .status ==", "answers.ok: the jq expression is wrong"},
		"a wrong template":        {"page: =.page.number", "page: =.page.", "operations.items.request.query.page: the jq expression is wrong"},
		"an unknown function":     {"(.pieces | whole)", "(.pieces | hole)", "operations.levels.rows: the jq expression is wrong: function not defined: hole/0"},
		"a file in an expression": {"ok: .status == \"ok\"", "ok: 'import \"a\" as a; .'", "answers.ok: the jq expression is wrong"},
		"an unknown kind":         {"kind: throttled", "kind: slow", "answers.codes.BUSY.kind: write retryable"},
		"no message":              {", message: the system is busy}", "}", "answers.codes.BUSY.message"},
		"no such basis":           {"basis: on_hand", "basis: gross", ":5: basis: write on_hand"},
		"no such role":            {"role: system_of_record", "role: both", ":4: role: write marketplace"},
		"an operation too few":    {"  order_status:", "  movements:", "operations.levels.position: with movements"},
		"an operation of another": {"  order_status:", "  write_stock:", "operations.write_stock: a system_of_record has no such operation"},
		"no paging":               {"by: page, first: 1, size: 2, more: .more}\n    rows: '.articles", "by: leaf, first: 1, size: 2, more: .more}\n    rows: '.articles", "operations.items.paging.by: write page"},
		"no scheme":               {"scheme: body_hmac_sha256", "scheme: none", "webhook.verify"},
		"a secret with a default": {"secret: true}", "secret: true, default: x}", "settings[1].default: a secret has no default"},
		"a setting of ours":       {"{name: token, help", "{name: pace, help", "settings[1].name: pace is a setting of every"},
		"no base_url":             {"{name: base_url, help", "{name: url, help", "settings: there must be a setting base_url"},
		"a wrong duration":        {"wait: 10s", "wait: soon", "answers.codes.BUSY.wait: \"soon\" is not a duration"},
		"an anchor":               {"pieces: .quantity}]'", "x: &a 1}]'", "the jq expression is wrong"},
		"a reason too few":        {"# What the conformance", "skip: {CloseIsFinal: \"\"}\n# What the conformance", "skip.CloseIsFinal: write the reason"},
	} {
		if !strings.Contains(string(small), tt.old) {
			t.Errorf("%s: %q does not stand in the file", name, tt.old)
			continue
		}
		f, err := declared.Parse("bad.yaml", []byte(strings.Replace(string(small), tt.old, tt.new, 1)))
		if err == nil || f != nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "bad.yaml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string]string{"nothing": "", "two documents": "name: a\n---\nname: b\n", "no UTF-8": "name: \xff", "a list": "- 1", "much": strings.Repeat("#", declared.MaxFile+1)} {
		if _, err := declared.Parse("bad.yaml", []byte(data)); err == nil || !strings.HasPrefix(err.Error(), "bad.yaml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a connection is opened with is checked against what the file declares; the error names the setting, and no secret.
func TestSettingsAreChecked(t *testing.T) {
	f := load(t, "small.yaml")
	for name, s := range map[string]connectors.Settings{
		"token":    {"base_url": "https://erp.example"},
		"base_url": {"token": "secret-token"},
		"typo":     {"base_url": "https://erp.example", "token": "secret-token", "typo": "1"},
		"pace":     {"base_url": "https://erp.example", "token": "secret-token", "pace": "fast"},
	} {
		if _, err := f.Open(connectors.Env{}, connectors.SystemOfRecordRole, s); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Open(connectors.Env{}, connectors.MarketplaceRole, nil); err == nil || !strings.Contains(err.Error(), "system_of_record") {
		t.Errorf("another role: %v", err)
	}
	info := declared.Info()
	path := filepath.Join("examples", "small.yaml")
	fields, err := info.Further(connectors.Settings{"file": path})
	if err != nil || len(fields) != 2 || !fields[1].Secret {
		t.Errorf("%+v, %v", fields, err)
	}
	c, err := info.Open(connectors.Env{}, connectors.SystemOfRecordRole, connectors.Settings{"file": path, "base_url": "https://erp.example", "token": "x"})
	if err != nil || c.Close() != nil {
		t.Error(err)
	}
	if _, err := info.Further(connectors.Settings{"file": "no-such-file.yaml"}); err == nil {
		t.Error("a file that is not there is taken")
	}
}
