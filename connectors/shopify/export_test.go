package shopify

// Documents and Versions are for the test of all documents in all versions.
var (
	Documents = documents
	Versions  = versions
)
