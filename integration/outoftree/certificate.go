package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"

	"github.com/nephoscope/nepho/sdk"
)

// find lists the files that match any of the globs, each once.
func find(globs []string) ([]sdk.Resource, error) {
	var found []sdk.Resource
	seen := map[string]bool{}
	for _, g := range globs {
		matches, err := filepath.Glob(g)
		if err != nil {
			return nil, err
		}
		for _, path := range matches {
			if !seen[path] {
				seen[path] = true
				found = append(found, sdk.Resource{ID: path})
			}
		}
	}
	return found, nil
}

// read gives the first certificate of a file.
func read(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("holds no certificate")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
		data = rest
	}
}
