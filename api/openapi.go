package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"

	"go.yaml.in/yaml/v3"
)

// openapi is the description of the API. A test holds it and the code together.
//
//go:embed openapi.yaml
var openapi []byte

func openapiYAML(*call) (any, error) { return document{"application/yaml", openapi}, nil }

// asJSON is the same as JSON.
var asJSON = sync.OnceValues(func() ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		return nil, fmt.Errorf("api: openapi.yaml: %w", err)
	}
	return json.MarshalIndent(doc, "", "  ")
})

func openapiJSON(*call) (any, error) {
	data, err := asJSON()
	return document{"application/json", data}, err
}
