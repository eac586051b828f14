// Package declared is the connector for systems that nobody wrote a connector for: a file says how to ask the system,
// and what its answers mean. A request is a template, an extraction a jq expression; what comes out is checked as
// strictly as what a connector in Go tells. A file is refused when it is read, with line, field and reason. An
// expression sees the call and its answer, and nothing else: no environment, no file, no clock.
//
// docs/declared.md is for the person who writes such a file.
package declared

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

// The settings of every declared connection, and the one that a file must declare.
const (
	settingFile    = "file"
	settingPace    = "pace"
	settingBaseURL = "base_url"
)

// Info describes the connector. Its further fields are those that the file declares.
func Info() connectors.Info {
	return connectors.Info{
		Name:  "declared",
		Title: "Any other REST system, declared in a file",
		Roles: []connectors.Role{connectors.MarketplaceRole, connectors.SystemOfRecordRole},
		Fields: []connectors.Field{
			{Name: settingFile, Required: true, Path: true, Help: "The file that declares the system, such as jushuitan.yaml; a path that does not begin with / begins where the configuration file is."},
			{Name: settingPace, Help: "The most requests a second that the system bears, such as 5 or 0.5; what the file says when left out."},
		},
		Further: further,
		Open:    open,
		Guide: connectors.Guide{
			Versions: "REST systems that answer in JSON; Jushuitan (聚水潭) and 旺店通 企业版 as complete examples",
			Classes:  []connectors.Class{connectors.DeductsSinceUpdate, connectors.DeductsOpenOrders, connectors.Overwrite, connectors.AsynchronousFeed},
			Bases:    []stock.Basis{stock.OnHandBasis, stock.AvailableBasis},
			Setup: []string{
				"Write a file as docs/declared.md says, or begin with one of connectors/declared/examples: jushuitan.yaml or wangdian.yaml.",
				"Run `truestock check --connector FILE`: it plays the examples of the file, runs the conformance suite against the file's pretend server, and says what fails.",
				"Put `connector: declared` and the setting `file` into the configuration, with the settings that the file declares, and run `truestock check CONNECTION`.",
			},
			Limits: []string{
				"Answers are JSON of at most 16 MiB. An expression ends within 5 s and gives at most 1,000,000 values.",
				"A list is read as a whole in one call, all of its pages and windows.",
				"A token is kept in memory: a new process gets another one by the credentials in the settings.",
			},
			Can: []string{
				"levels, articles, places, orders with a look-up before they are created, cancellations, amendments, the standing of an order, movements with positions",
				"listings, readings, writes with an outcome per line, orders and shipments of a marketplace",
				"no authentication, headers, Basic, tokens with expiry and refresh, signatures over sorted parameters (Jushuitan, 旺店通, Alibaba, and any by their joining)",
				"pages by number, offset, cursor and link, and windows of time",
				"failures by HTTP status and by code in the answer, each with what a person is told",
				"webhooks that are signed over the body or over sorted parameters, or carry a shared secret",
			},
			Cannot: []string{
				"writes that compare what they replace (C1), or changes with a key (C2)",
				"XML, GraphQL whose errors are not in the answer, uploads of files, and signatures that cover headers",
				"prove by itself that a vendor behaves as the file says: examples and a pretend server are as true as the documents that they were written from",
			},
			Evidence: []connectors.Evidence{
				{By: connectors.Vectors, What: "the signatures of Jushuitan, 旺店通, Alibaba and of joinings that were computed apart", Test: "connectors/signature TestSchemes"},
				{By: connectors.Conformance, What: "examples/jushuitan.yaml against a pretend Jushuitan with its rules: windows of seven days, codes in answers with status 200, tokens that expire", Test: "connectors/declared TestJushuitan"},
				{By: connectors.Conformance, What: "examples/wangdian.yaml against a pretend 旺店通 with its rules", Test: "connectors/declared TestWangdian"},
				{By: connectors.Conformance, What: "a marketplace with pages by cursor and an outcome per line", Test: "connectors/declared TestMarketplace"},
			},
			Unproven: []string{
				"Jushuitan and 旺店通 against their real systems: no account was at hand. What their files take from third parties, and not from the vendor's documents, is named in the files.",
			},
		},
	}
}

// further reads the file for the settings that it declares.
func further(s connectors.Settings) ([]connectors.Field, error) {
	if s[settingFile] == "" {
		return nil, nil
	}
	f, err := Load(s[settingFile])
	if err != nil {
		return nil, err
	}
	return f.Fields(), nil
}

// Fields are the settings that a connection to the system takes.
func (f *File) Fields() []connectors.Field {
	fields := make([]connectors.Field, 0, len(f.Settings))
	for _, s := range f.Settings {
		fields = append(fields, connectors.Field{Name: s.Name, Help: s.Help, Default: s.Default, Required: s.Required, Secret: s.Secret})
	}
	return fields
}

func open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	if s[settingFile] == "" {
		return nil, fmt.Errorf("%s is missing: write the file that declares the system", settingFile)
	}
	f, err := Load(s[settingFile])
	if err != nil {
		return nil, err
	}
	return f.Open(env, role, s)
}

// Open makes a connection to the system. It does no I/O; the error names the setting.
func (f *File) Open(env connectors.Env, role connectors.Role, s connectors.Settings) (connectors.Connection, error) {
	return f.openAt(env, role, s, time.Now)
}

func (f *File) openAt(env connectors.Env, role connectors.Role, s connectors.Settings, now func() time.Time) (connectors.Connection, error) {
	if role != f.Role {
		return nil, fmt.Errorf("%s: %s is declared as %s, and the connection is to be a %s", settingFile, f.Name, f.Role, role)
	}
	c := &connection{file: f, settings: map[string]any{}, now: now}
	known := []string{settingFile, settingPace}
	for _, field := range f.Settings {
		known = append(known, field.Name)
		v := s[field.Name]
		if v == "" {
			v = field.Default
		}
		if v == "" && field.Required {
			return nil, fmt.Errorf("%s is missing: %s", field.Name, field.Help)
		}
		c.settings[field.Name] = nil
		if v != "" {
			c.settings[field.Name] = v
		}
		if field.Secret {
			c.secrets = append(c.secrets, v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%s is no setting of %s; it has %s", name, f.Name, strings.Join(known, ", "))
		}
	}
	pace, err := rest.ParsePace(settingPace, s[settingPace])
	if err != nil {
		return nil, err
	}
	if pace == 0 {
		pace = f.RequestsPerSecond
	}
	if !f.listensOnly() {
		c.client, err = rest.New(rest.Config{BaseURL: textSetting(c.settings, settingBaseURL), Transport: env.Transport, Log: env.Log, Timeout: env.Timeout,
			RequestsPerSecond: pace, Secrets: c.secrets})
		if err != nil {
			return nil, err
		}
	}
	var hooks *receiver
	if f.Webhook != nil {
		hooks = &receiver{c: c, webhook: f.Webhook}
	}
	if role == connectors.MarketplaceRole {
		return openMarketplace(c, hooks), nil
	}
	return openRecord(c, hooks), nil
}
