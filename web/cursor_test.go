package web

import "testing"

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{
		"", "====", "bA",
		"bAFhAWIBYw", "bAFh\nAWIBYw", "bAFhAWIBYwA", "bIEAYQFiAWM", "bP_______________wE", // listings: a, b, c and broken ones
		"ZQEx", "ZQIrMQ", "ZQEw", "ZQItMQ", "aQEx", // the event 1, written otherwise, out of range, and of another list
	} {
		f.Add(seed)
	}
	f.Add(*encodeCursor(listingCursor, "shop", "a/b\x00\xff", ""))
	f.Add(*encodeCursor(planCursor, formatID(1<<62)))
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := keyCursor(listingCursor, text); err == nil && text != "" {
			if again := *encodeCursor(listingCursor, string(key.Connection), key.Item, key.Place); again != text {
				t.Errorf("%q and %q are the same key", text, again)
			}
		}
		if id, err := idCursor(eventCursor, text); err == nil && text != "" {
			if again := *encodeCursor(eventCursor, formatID(id)); again != text {
				t.Errorf("%q and %q are the same id", text, again)
			}
		}
	})
}

func FuzzCursorKeepsKeys(f *testing.F) {
	f.Add("shop", "a/b", "")
	f.Add("", "\x00\xff", "place")
	f.Fuzz(func(t *testing.T, connection, item, place string) {
		want := listingKey(connection, item, place)
		text := *encodeCursor(listingCursor, connection, item, place)
		if len(text) > maxCursor {
			t.Skip()
		}
		if got, err := keyCursor(listingCursor, text); err != nil || got != want {
			t.Errorf("%v became %v (%v)", want, got, err)
		}
		if _, err := idCursor(eventCursor, text); err == nil {
			t.Error("a cursor of listings is taken for one of events")
		}
	})
}
