package shopify_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"

	"github.com/truestock/truestock/connectors/realsystem"
)

const (
	// schemaPackage is where Shopify publishes the schemas of its versions, as the answers to introspection.
	schemaPackage = "@shopify/dev-mcp@1.16.0"
	schemaSum     = "4663c79229028e98f825a09d5f04ec6c3736331b740ce50260f9ffac10709474"
	packTimeout   = 2 * time.Minute
)

// schemaOf returns Shopify's own schema of a version. It skips the test where npm is missing, and fails it in that case when
// TRUESTOCK_REQUIRE=all is set. The first use on a machine downloads 14 MB, which stay in the user's cache folder.
func schemaOf(t testing.TB, version string) *ast.Schema {
	t.Helper()
	realsystem.Need(t, "Shopify's schema cannot be had", "npm")
	load, _ := schemas.LoadOrStore(version, sync.OnceValues(func() (*ast.Schema, error) {
		folder, err := schemaFolder()
		if err != nil {
			return nil, err
		}
		return readSchema(filepath.Join(folder, "admin_"+version+".json.gz"))
	}))
	schema, err := load.(func() (*ast.Schema, error))()
	if err != nil {
		t.Fatalf("Shopify's schema of %s: %v", version, err)
	}
	return schema
}

var (
	schemas      sync.Map // from a version to a function that reads its schema once
	schemaFolder = sync.OnceValues(unpack)
)

// unpack has npm fetch the package once, and returns the folder with the schemas.
func unpack() (string, error) { return realsystem.Once("shopify-"+schemaSum[:16], pack) }

func pack(work string) error {
	ctx, cancel := context.WithTimeout(context.Background(), packTimeout)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", work, schemaPackage)
	npm.Dir = work
	if output, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s: %w\n%s", schemaPackage, err, output)
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack %s left %d archives (%w)", schemaPackage, len(archives), err)
	}
	text, err := os.ReadFile(archives[0])
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != schemaSum {
		return fmt.Errorf("%s has the SHA-256 %x, not %s", schemaPackage, sum, schemaSum)
	}
	return extract(text, work)
}

func extract(archive []byte, folder string) error {
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	for files := tar.NewReader(zipped); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Base(h.Name)
		if !strings.HasPrefix(name, "admin_") || !strings.HasSuffix(name, ".json.gz") {
			continue
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
}

// introspected is the answer to an introspection query.
type introspected struct {
	Data struct {
		Schema struct {
			QueryType    struct{ Name string } `json:"queryType"`
			MutationType struct{ Name string } `json:"mutationType"`
			Types        []introspectedType    `json:"types"`
			Directives   []struct {
				Name      string              `json:"name"`
				Locations []string            `json:"locations"`
				Args      []introspectedInput `json:"args"`
			} `json:"directives"`
		} `json:"__schema"`
	} `json:"data"`
}

type introspectedType struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Fields []struct {
		Name         string              `json:"name"`
		Args         []introspectedInput `json:"args"`
		Type         typeRef             `json:"type"`
		IsDeprecated bool                `json:"isDeprecated"`
	} `json:"fields"`
	InputFields   []introspectedInput `json:"inputFields"`
	Interfaces    []typeRef           `json:"interfaces"`
	PossibleTypes []typeRef           `json:"possibleTypes"`
	EnumValues    []struct {
		Name string `json:"name"`
	} `json:"enumValues"`
}

type introspectedInput struct {
	Name         string  `json:"name"`
	Type         typeRef `json:"type"`
	DefaultValue *string `json:"defaultValue"`
}

type typeRef struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	OfType *typeRef `json:"ofType"`
}

func readSchema(file string) (*ast.Schema, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	var got introspected
	if err := json.UnmarshalRead(zipped, &got, json.MatchCaseInsensitiveNames(true)); err != nil {
		return nil, err
	}
	c := converter{nowhere: &ast.Position{Src: &ast.Source{Name: filepath.Base(file)}}}
	return c.schema(got)
}

// converter turns introspection into the syntax tree of a schema.
type converter struct {
	nowhere *ast.Position
	err     error
}

func (c *converter) schema(got introspected) (*ast.Schema, error) {
	doc := validator.PreludeDocument()
	known := map[string]bool{}
	for _, d := range doc.Definitions {
		known[d.Name] = true
	}
	for _, t := range got.Data.Schema.Types {
		if !known[t.Name] && !strings.HasPrefix(t.Name, "__") {
			doc.Definitions = append(doc.Definitions, c.definition(t))
		}
	}
	directives := map[string]bool{}
	for _, d := range doc.Directives {
		directives[d.Name] = true
	}
	for _, d := range got.Data.Schema.Directives {
		if directives[d.Name] {
			continue
		}
		made := &ast.DirectiveDefinition{Name: d.Name, Position: c.nowhere, Arguments: c.arguments(d.Args)}
		for _, l := range d.Locations {
			made.Locations = append(made.Locations, ast.DirectiveLocation(l))
		}
		doc.Directives = append(doc.Directives, made)
	}
	doc.Schema = ast.SchemaDefinitionList{{Position: c.nowhere, OperationTypes: ast.OperationTypeDefinitionList{
		{Operation: ast.Query, Type: got.Data.Schema.QueryType.Name, Position: c.nowhere},
		{Operation: ast.Mutation, Type: got.Data.Schema.MutationType.Name, Position: c.nowhere},
	}}}
	if c.err != nil {
		return nil, c.err
	}
	return validator.ValidateSchemaDocument(doc)
}

func (c *converter) definition(t introspectedType) *ast.Definition {
	d := &ast.Definition{Kind: ast.DefinitionKind(t.Kind), Name: t.Name, Position: c.nowhere}
	for _, f := range t.Fields {
		field := &ast.FieldDefinition{Name: f.Name, Arguments: c.arguments(f.Args), Type: c.reference(f.Type), Position: c.nowhere}
		if f.IsDeprecated {
			field.Directives = ast.DirectiveList{{Name: "deprecated", Position: c.nowhere}}
		}
		d.Fields = append(d.Fields, field)
	}
	for _, f := range t.InputFields {
		d.Fields = append(d.Fields, &ast.FieldDefinition{Name: f.Name, Type: c.reference(f.Type), DefaultValue: c.value(f.DefaultValue), Position: c.nowhere})
	}
	for _, i := range t.Interfaces {
		d.Interfaces = append(d.Interfaces, i.Name)
	}
	if d.Kind == ast.Union {
		for _, p := range t.PossibleTypes {
			d.Types = append(d.Types, p.Name)
		}
	}
	for _, v := range t.EnumValues {
		d.EnumValues = append(d.EnumValues, &ast.EnumValueDefinition{Name: v.Name, Position: c.nowhere})
	}
	return d
}

func (c *converter) arguments(inputs []introspectedInput) ast.ArgumentDefinitionList {
	var list ast.ArgumentDefinitionList
	for _, i := range inputs {
		list = append(list, &ast.ArgumentDefinition{Name: i.Name, Type: c.reference(i.Type), DefaultValue: c.value(i.DefaultValue), Position: c.nowhere})
	}
	return list
}

func (c *converter) reference(t typeRef) *ast.Type {
	switch {
	case t.Kind == "NON_NULL" && t.OfType != nil:
		inner := c.reference(*t.OfType)
		inner.NonNull = true
		return inner
	case t.Kind == "LIST" && t.OfType != nil:
		return ast.ListType(c.reference(*t.OfType), c.nowhere)
	}
	return ast.NamedType(t.Name, c.nowhere)
}

// value parses a default, which introspection tells as GraphQL text.
func (c *converter) value(text *string) *ast.Value {
	if text == nil {
		return nil
	}
	query, err := parser.ParseQuery(&ast.Source{Input: "{a(b: " + *text + ")}"})
	if err != nil {
		c.err = errors.Join(c.err, fmt.Errorf("the default %s: %w", *text, err))
		return nil
	}
	return query.Operations[0].SelectionSet[0].(*ast.Field).Arguments[0].Value
}
