package shopify

import "io"

// Documents and Versions are for the test of all documents in all versions.
var (
	Documents = documents
	Versions  = versions
)

// ExportDocument lacks the id that the items are above, and the location.
const ExportDocument = exportDocument

// ReadExport reads a file, and counts its lines and items.
func ReadExport(r io.Reader) (lines uint64, items int, err error) {
	lines, read, err := readExport(r)
	return lines, len(read), err
}
