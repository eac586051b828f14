package web

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
)

// routeDocument serves the OpenAPI document, which needs no token: it holds nothing that the source does not.
func (s *Server) routeDocument(group *echo.Group, document *huma.OpenAPI) {
	trueSchemas(document.Components.Schemas)
	asYAML, err := document.YAML()
	if err != nil { // the document is built from types alone: the tests would fail first
		panic(err)
	}
	asJSON, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	show := func(path, contentType string, text []byte) {
		group.GET(path, s.recovered(func(c echo.Context) error {
			apiHeaders(c)
			return c.Blob(http.StatusOK, contentType, text)
		}))
	}
	show("/openapi.yaml", "application/openapi+yaml", asYAML)
	show("/openapi.json", "application/openapi+json", asJSON)
}

// trueSchemas makes the generated schemas say what is really sent: lists are never null, objects behind a pointer may
// be, and answers may grow by fields. Requests stay closed.
func trueSchemas(schemas huma.Registry) {
	for name, schema := range schemas.Map() {
		if !strings.HasSuffix(name, "Request") {
			schema.AdditionalProperties = nil
		}
		t := schemas.TypeFromRef("#/components/schemas/" + name)
		for _, field := range reflect.VisibleFields(t) {
			jsonName, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			property := schema.Properties[jsonName]
			switch {
			case property == nil:
			case property.Type == huma.TypeArray:
				property.Nullable = false
			case property.Ref != "" && isNullableObject(field.Type):
				schema.Properties[jsonName] = &huma.Schema{
					Description: property.Description,
					OneOf:       []*huma.Schema{{Ref: property.Ref}, {Type: "null"}},
				}
			}
		}
	}
}

func isNullableObject(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && t.Elem() != typeOf[time.Time]()
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
