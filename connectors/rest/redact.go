package rest

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// redacted stands where a secret stood.
const redacted = "redacted"

// redactor replaces secrets, in each form in which they appear in URLs, headers, JSON and quoted text.
type redactor struct{ replacer *strings.Replacer }

func newRedactor(secrets []string) redactor {
	var forms []string
	for _, s := range secrets {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		quoted := strconv.Quote(s)
		forms = append(forms, s, url.QueryEscape(s), url.PathEscape(s), quoted[1:len(quoted)-1],
			base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s)))
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // the longest form wins
	var pairs []string
	for _, f := range slices.Compact(forms) {
		pairs = append(pairs, f, redacted)
	}
	return redactor{replacer: strings.NewReplacer(pairs...)}
}

func (r redactor) replace(text string) string { return r.replacer.Replace(text) }

// oneLine makes text safe for one line of a log: printable, and at most 500 bytes and an ellipsis.
func oneLine(text string) string {
	const most = 500
	cut := len(text) > most
	if cut {
		text = text[:most]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, ""))
	if cut {
		text += "…"
	}
	return text
}
