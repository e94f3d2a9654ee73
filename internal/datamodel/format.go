package datamodel

import (
	"strconv"
	"strings"
)

// FormatDescription says how a number is shown, as a specifier of d3-format.
type FormatDescription struct {
	Name      string `json:"name"`
	Specifier string `json:"specifier"`
	Currency  string `json:"currency,omitempty"`
}

// specifier returns the specifier of a format that Cube names: a family, and the largest number of decimals (number_1,
// accounting_3), which is 2 where none is given. The families that Cube had before, number, percent and currency, have a
// number only.
func specifier(name string) (string, bool) {
	family, digits, numbered := strings.Cut(name, "_")
	n := 2
	if numbered {
		var err error
		if n, err = strconv.Atoi(digits); err != nil || len(digits) != 1 || n > 6 {
			return "", false
		}
	}
	trim := "~" // zeros at the end
	if n == 0 && family != "abbr" {
		trim = ""
	}
	precision := "." + strconv.Itoa(n) + trim
	switch {
	case family == "id" && !numbered:
		return ".0f", true
	case family == "abbr":
		return precision + "s", true
	case family == "accounting":
		return "(," + precision + "f", true
	case family == "decimal", family == "number" && numbered:
		return "," + precision + "f", true
	case family == "percent" && numbered:
		return precision + "%", true
	case family == "currency" && numbered:
		return "$," + precision + "f", true
	}
	return "", false
}

// ShownFormat returns the format of m as clients read it: one of the names that they know, or a mapping for what they do
// not (cube-rest-api.md §12).
func (m *Member) ShownFormat() any {
	name, ok := m.Format.(string)
	if !ok {
		return m.Format
	}
	if s, ok := specifier(name); ok {
		return map[string]any{"type": "custom-numeric", "value": s, "alias": name}
	}
	switch {
	case name == "percent", name == "currency", name == "number", m.Kind == Dimension && (name == "imageUrl" || name == "id"):
		return name
	case m.Kind == Measure, m.Type == Number:
		return map[string]any{"type": "custom-numeric", "value": name}
	case m.Type == Time:
		return map[string]any{"type": "custom-time", "value": name}
	}
	return name
}

// FormatDescription returns how the numbers of m are shown, or nil where its values are none.
func (m *Member) FormatDescription() *FormatDescription {
	if m.ResultType() != Number {
		return nil
	}
	d := FormatDescription{Name: "number", Specifier: ",.2~f", Currency: m.ShownCurrency()}
	switch f := m.ShownFormat().(type) {
	case string:
		switch f {
		case "percent":
			d.Name, d.Specifier = f, ".2~%"
		case "currency":
			d.Name, d.Specifier = f, "$,.2~f"
		}
	case map[string]any:
		if f["type"] == "custom-numeric" {
			d.Name, d.Specifier = "custom", f["value"].(string)
			if alias, ok := f["alias"].(string); ok {
				d.Name = alias
			}
		}
	}
	return &d
}

// ShownCurrency returns the currency of m in capitals, as ISO 4217 writes it.
func (m *Member) ShownCurrency() string { return strings.ToUpper(m.Currency) }
