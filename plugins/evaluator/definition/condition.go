package definition

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// conditionField is what a condition may name. Aodh allows the same.
var conditionField = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z.',0-9_-]*$`) })

var conditionTypes = []string{"", "string", "integer", "float", "boolean"}

// check refuses conditions that can never be compared.
func (c *Condition) check() *InputError {
	if c.Type != "" && !slices.Contains(conditionTypes, c.Type) && c.Type != "datetime" {
		return wrong("The data type %s is not supported. The supported data type list is: ['integer', 'float', 'string', 'boolean', 'datetime']", shorten(c.Type))
	}
	if !conditionField().MatchString(c.Field) {
		return wrong("Query value or traits invalid: %s is no name of a field", shorten(c.Field))
	}
	if c.Type == "datetime" {
		return wrong("Query value or traits invalid: values of type datetime can't be compared")
	}
	var ok = true
	switch c.Type {
	case "integer":
		_, err := strconv.ParseInt(strings.TrimSpace(c.Value), 10, 64)
		ok = err == nil
	case "float":
		_, err := strconv.ParseFloat(strings.TrimSpace(c.Value), 64)
		ok = err == nil
	case "boolean":
		_, ok = Truth(c.Value)
	}
	if !ok {
		return wrong("Unable to convert the value %s to the expected data type %s.", shorten(c.Value), c.Type)
	}
	return nil
}

// Truth reads a boolean as OpenStack's services do.
func Truth(s string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "t", "true", "on", "y", "yes":
		return true, true
	case "0", "f", "false", "off", "n", "no":
		return false, true
	}
	return false, false
}
