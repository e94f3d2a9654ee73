package datamodel_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
)

const policed = `cubes:
  - name: a
    sql_table: t
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: s, sql: s, type: string}
      - name: masked
        sql: m
        type: string
        mask: MASK
    measures:
      - {name: n, type: count}
    access_policy:
      - POLICY
`

func TestMistakesOfAnAccessPolicy(t *testing.T) {
	for _, tt := range []struct{ policy, want string }{
		{`{member_level: {includes: "*"}}`, `an access policy needs group or groups; "*" is everybody`},
		{`{group: a, groups: [b]}`, "an access policy has one of group, groups and role"},
		{`{groups: []}`, "an access policy for no group is for nobody"},
		{`{group: "*", member_level: {includes: [ss]}}`, `m.yml:14:48: access policy: a has no member "ss"; did you mean "s"?`},
		{`{group: "*", member_masking: {includes: [s]}}`, "member_masking needs member_level beside it"},
		{`{group: "*", row_level: {allow_all: false}}`, "allow_all: false says nothing"},
		{`{group: "*", row_level: {allow_all: true, filters: [{member: s, operator: set}]}}`, "row_level has either filters or allow_all"},
		{`{group: "*", row_level: {filters: [{or: []}]}}`, "an empty one would let every row through"},
		{`{group: "*", row_level: {filters: [{member: s, operator: equals}]}}`, "the filter on s needs values"},
		{`{group: "*", row_level: {filters: [{member: s, operator: is, values: [1]}]}}`, "there is no such operator"},
		{`{group: "*", row_level: {filters: [{member: n, operator: gt, values: [1]}]}}`, `a has no dimension "n" to filter rows by`},
		{`{group: "*", row_level: {filters: [{member: b.s, operator: set}]}}`, `a has no dimension "b.s" to filter rows by`},
		{`{group: "*", row_level: {filters: [{member: s, operator: equals, values: ["{a.b}"]}]}}`, "a value of a filter on rows is text, and claims"},
		{`{group: "*", row_level: {filters: [{member: s, operator: equals, values: regions}]}}`, "a value of a filter on rows is text, and claims"},
		{`{group: "*", row_level: {filters: [{member: s, operator: equals, values: ["{securityContext.x.filter('s')}"]}]}}`, "a value of a filter on rows is text, and claims"},
		{`{group: "*", conditions: [{if: "{ securityContext.a == 1 }"}]}`, "comparisons are not supported"},
		{`{group: "*", conditions: [{if: "{ a }"}]}`, "a condition is made of securityContext, userAttributes, True and False, with and, or and not; there is no a"},
		{`{group: "*", conditions: [{if: "securityContext.a"}]}`, "a condition is an expression in braces"},
		{`{group: "*", conditions: [{}]}`, "a condition needs if"},
		{`{group: "*", row_levle: {}}`, `an access policy has no key "row_levle"; did you mean "row_level"?`},
	} {
		text := strings.Replace(strings.Replace(policed, "POLICY", tt.policy, 1), "MASK", "-1", 1)
		_, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\nLoad = %v\nwant %s", tt.policy, err, tt.want)
		}
	}
	for mask, ok := range map[string]bool{
		"-1": true, "true": true, `"'hidden'"`: true, `{sql: "LEFT({CUBE}.m, 1)"}`: true, "hidden": false, "{sql: \"{nope}\"}": false, "[]": false,
	} {
		text := strings.Replace(strings.Replace(policed, "POLICY", `{group: "*"}`, 1), "MASK", mask, 1)
		if _, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(text)}}); (err == nil) != ok {
			t.Errorf("mask %s: %v", mask, err)
		}
	}
}

func TestConditionsOfAPolicy(t *testing.T) {
	claims := map[string]any{"yes": true, "no": false, "text": "true", "cubeCloud": map[string]any{"userAttributes": map[string]any{"vip": true}}}
	for condition, want := range map[string]string{
		"{ securityContext.yes }": "true", "{ not securityContext.yes }": "false", "{ securityContext.no or userAttributes.vip }": "true",
		"{ securityContext.no and securityContext.text }": "false", "{ not (securityContext.no or securityContext.missing) }": "true",
		"{ securityContext.text }": "error", "{ securityContext.yes or securityContext.no and securityContext.no }": "true",
		"{ not not True }": "true", "{ False }": "false", "{ securityContext['yes'] }": "true",
	} {
		text := strings.Replace(strings.Replace(policed, "POLICY", `{group: "*", conditions: [{if: "`+condition+`"}]}`, 1), "MASK", "-1", 1)
		m, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(text)}})
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		got, err := m.Cube("a").Policies[0].Applies(nil, claims)
		if is := map[bool]string{true: "true", false: "false"}[got]; (err == nil) != (want != "error") || err == nil && is != want {
			t.Errorf("%s is %v, %v; want %s", condition, got, err, want)
		}
	}
}

func TestMetaShowsWhatPoliciesGrant(t *testing.T) {
	text := strings.Replace(strings.Replace(policed, "POLICY", `{group: sales, member_level: {includes: [n]}, member_masking: {includes: [masked]}}`, 1), "MASK", "-1", 1)
	m, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []bool{false, true} {
		names := func(groups ...string) string {
			visible, err := m.Visible(groups, nil)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, c := range m.Meta(datamodel.MetaOptions{ShowHidden: hidden, Visible: visible}).Cubes {
				for _, d := range c.Dimensions {
					all = append(all, d.Name)
				}
				for _, measure := range c.Measures {
					all = append(all, measure.Name)
				}
			}
			return strings.Join(all, " ")
		}
		if got := names("sales"); got != "a.masked a.n" {
			t.Errorf("sales see %q", got)
		}
		if got := names("support"); got != "" {
			t.Errorf("others see %q", got)
		}
	}
}

// As in Cube, the policies of a cube that extends another come after those of the other, and each grants what it says.
func TestAnExtendedCubeHasThePoliciesOfBoth(t *testing.T) {
	m := load(t, `
cubes:
  - name: base
    sql_table: t
    dimensions: [{name: s, sql: s, type: string}]
    access_policy: [{group: staff}]
  - {name: silent, extends: base}
  - name: child
    extends: base
    access_policy: [{group: guests, member_level: {includes: []}}, {group: friends}]
`)
	for _, tt := range []struct {
		cube, group string
		want        bool
	}{
		{"base", "staff", true}, {"base", "friends", false}, {"silent", "staff", true}, {"silent", "friends", false},
		{"child", "staff", true}, {"child", "friends", true}, {"child", "guests", false}, {"child", "nobody", false},
	} {
		visible, err := m.Visible([]string{tt.group}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := visible(m.Cube(tt.cube).Member("s")); got != tt.want {
			t.Errorf("%s sees %s.s: %v, want %v", tt.group, tt.cube, got, tt.want)
		}
	}
}
