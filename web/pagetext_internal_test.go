package web

import (
	"reflect"
	"testing"
)

// TestPageTextsAreComplete looks for a text that a language lacks.
func TestPageTextsAreComplete(t *testing.T) {
	for _, text := range pageTexts {
		v := reflect.ValueOf(text)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s has no %s", text.Lang, v.Type().Field(i).Name)
			}
		}
	}
}
