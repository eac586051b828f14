package shiphero

// Documents are all GraphQL documents, by their names.
var Documents = documents
