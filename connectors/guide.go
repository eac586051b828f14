package connectors

import (
	"fmt"
	"slices"
	"strings"

	"github.com/truestock/truestock/stock"
)

// Guide is what a person has to know of a connector before using it. It is shown by `truestock connectors` and is the
// page of the connector in docs/connectors. It claims nothing without evidence.
type Guide struct {
	// Versions of the system, or of its interface, that the connector speaks to.
	Versions string
	// Classes are what a write to a marketplace can be; several where it depends on the system at the other end.
	Classes []Class
	// Bases are what the numbers of a system of record can mean.
	Bases []stock.Basis
	// Batch is the most writes in one call; 0 where the system tells.
	Batch int
	// Setup are the steps, in the system's own screens, to an account that the connector can use. Scopes are the rights
	// that it needs there, in the system's own words.
	Setup, Scopes []string
	// Limits are what the system allows, and what it costs in time.
	Limits []string
	// Can and Cannot say what the connector does, and what somebody may expect and it does not do.
	Can, Cannot []string
	// Evidence is what the claims rest on.
	Evidence []Evidence
	// Unproven is what was built from documents, and not tried against anything of the vendor's.
	Unproven []string
}

// Evidence says by what a claim is proven.
type Evidence struct {
	By   Proof  `json:"by"`
	What string `json:"what"`
	// Test is the test that shows it: a package of this repository, and the test's name.
	Test string `json:"test"`
}

// Proof is a kind of evidence.
type Proof string

// The kinds of evidence, the strongest first.
const (
	// LiveTest: the real system runs in the tests.
	LiveTest Proof = "live"
	// VendorSpecification: requests and answers are checked against the vendor's own machine-readable description.
	VendorSpecification Proof = "specification"
	// Recorded: exchanges with a real system are replayed.
	Recorded Proof = "recorded"
	// Vectors: values that the vendor publishes, or that were computed apart from the connector.
	Vectors Proof = "vectors"
	// Conformance: the suite that every connector passes, against a pretend system written from the vendor's documents.
	Conformance Proof = "suite"
)

// Page is the page of the connector, in Markdown.
func (i Info) Page() string {
	g, b := i.Guide, &strings.Builder{}
	fmt.Fprintf(b, "# %s\n\n`connector: %s`, as %s. Speaks to %s.\n", i.Title, i.Name, strings.Join(words(i.Roles), " or "), g.Versions)
	list(b, "What to do in the other system", g.Setup, true)
	list(b, "Rights that it needs", g.Scopes, false)
	i.fields(b)
	list(b, "What it can", g.Can, false)
	list(b, "What it cannot", g.Cannot, false)
	list(b, "Limits", g.Limits, false)
	if len(g.Classes) > 0 {
		fmt.Fprintf(b, "\n## How safe a write is\n\nClass %s; what that means is in the [connector guide](../connector-guide.md).\n", strings.Join(words(g.Classes), ", "))
	}
	if len(g.Bases) > 0 {
		fmt.Fprintf(b, "\n## What a number means\n\n%s.\n", strings.Join(words(g.Bases), " or "))
	}
	b.WriteString("\n## What is proven, and by what\n\n| evidence | of what | test |\n|---|---|---|\n")
	for _, e := range g.Evidence {
		fmt.Fprintf(b, "| %s | %s | `%s` |\n", e.By, e.What, e.Test)
	}
	list(b, "Not proven", g.Unproven, false)
	return b.String()
}

// fields writes the settings of a connection as a table.
func (i Info) fields(b *strings.Builder) {
	b.WriteString("\n## Settings\n\n| setting | needed | meaning |\n|---|---|---|\n")
	for _, f := range i.Fields {
		needed := ""
		switch {
		case f.Required:
			needed = "yes"
		case f.Default != "":
			needed = "`" + f.Default + "` when left out"
		}
		name := "`" + f.Name + "`"
		if f.Secret {
			name += " (secret)"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, needed, strings.ReplaceAll(f.Help, "|", "\\|"))
	}
}

func list(b *strings.Builder, title string, rows []string, numbered bool) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	for n, row := range rows {
		if numbered {
			fmt.Fprintf(b, "%d. %s\n", n+1, row)
		} else {
			fmt.Fprintf(b, "- %s\n", row)
		}
	}
}

func words[T ~string](values []T) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, strings.ReplaceAll(string(v), "_", " "))
	}
	return out
}

// Strongest are the kinds of evidence of a guide, the strongest first.
func (g Guide) Strongest() []Proof {
	var kinds []Proof
	for _, p := range []Proof{LiveTest, VendorSpecification, Recorded, Vectors, Conformance} {
		if slices.ContainsFunc(g.Evidence, func(e Evidence) bool { return e.By == p }) {
			kinds = append(kinds, p)
		}
	}
	return kinds
}
