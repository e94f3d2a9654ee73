package sqlgen_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// oracleCase is a query of a model in testdata/oracle.
type oracleCase struct {
	name, query string
	context     string // claims; default {}
	handedOn    string // the query as Cube's gateway hands it to the compiler, where that is more than our normalized form
}

// oracleCases returns the queries of each model.
func oracleCases() map[string][]oracleCase {
	return map[string][]oracleCase{
		"measures":        eachMeasure("orders", "status", "count", "count_amount", "total", "average", "least", "most", "buyers", "net", "raw_total", "first_status", "last_at", "all_paid", "about_buyers"),
		"keyless":         append(eachMeasure("orders", "status", "count", "total", "large"), oracleCase{name: "dimension alone", query: `{"dimensions":["orders.status"]}`}),
		"composite":       compositeCases,
		"operators":       operatorCases(),
		"times":           timeCases(),
		"snowflake_joins": snowflakeCases(),
		"fan_out":         fanOutCases(),
		"chasm":           chasmCases(),
		"synonyms":        synonymCases,
		"filtered":        eachMeasure("orders", "kind", "done", "done_eu", "done_total", "done_average", "done_most", "done_least", "done_buyers", "german", "share", "share_twice"),
		"cases":           caseCases,
		"geo": {
			{name: "selected", query: `{"dimensions":["countries.code","countries.location"]}`},
			{name: "set", query: `{"dimensions":["countries.code"],"filters":[{"member":"countries.location","operator":"set"}]}`},
			{name: "notSet", query: `{"dimensions":["countries.code"],"filters":[{"member":"countries.location","operator":"notSet"}]}`},
			{name: "equals", query: `{"measures":["countries.count"],"filters":[{"member":"countries.location","operator":"equals","values":["0,0"]}]}`},
			{name: "grouped", query: `{"measures":["countries.count"],"dimensions":["countries.location"]}`},
		},
		"formats": {
			{name: "of a view", query: `{"measures":["shown.total","shown.share"],"dimensions":["shown.status"]}`},
			{name: "a dimension by another name", query: `{"measures":["shown.count"],"dimensions":["shown.cost"]}`},
			{name: "measures", query: `{"measures":["orders.net","orders.average","orders.short","orders.odd"],"dimensions":["orders.picture"]}`},
		},
		"segments": segmentCases,
		"views":    viewCases,
		"view_extends": {
			{name: "parent", query: `{"measures":["sales.count"],"dimensions":["sales.status"]}`},
			{name: "child", query: `{"measures":["more_sales.total"],"dimensions":["more_sales.kind"]}`},
			{name: "inherited", query: `{"measures":["more_sales.count"],"dimensions":["more_sales.status"]}`},
		},
		"diamond":              diamondCases,
		"inheritance":          inheritanceCases,
		"filter_params":        filterParamsCases,
		"filter_group":         filterGroupCases,
		"contexts":             contextCases,
		"derived":              derivedCases,
		"one_to_one":           oneToOneCases,
		"paging":               pagingCases,
		"ungrouped":            ungroupedCases,
		"across":               acrossCases,
		"three_facts":          threeFactsCases(),
		"rollups":              rollupCases,
		"sub_queries":          subQueryCases,
		"paths":                pathCases,
		"long_chain":           chainCases,
		"rolling":              rollingCases,
		"custom_granularities": customGranularityCases,
		"commerce":             commerceCases,
		"reporting":            reportingCases,
		"product":              productCases,
		"ledger":               ledgerCases,
		"company":              companyCases,
		"webshop":              webshopCases,
		"mart":                 martCases,
		"windows":              windowsCases,
		"lambdas":              lambdasCases,
		"claims":               claimsCases,
		"grains":               grainsCases,
		"proxies":              proxiesCases,
		"nulls":                nullsCases,
		"cohorts":              cohortsCases,
		"properties":           propertiesCases,
		"crossroads":           crossroadsCases,
		"scripted":             scriptedCases,
		"spelled":              spelledCases,
		"escapes":              escapesCases,
	}
}

// eachMeasure asks for each measure alone and by a dimension.
func eachMeasure(cube, dimension string, measures ...string) (cases []oracleCase) {
	for _, m := range measures {
		cases = append(cases,
			oracleCase{name: m + " alone", query: fmt.Sprintf(`{"measures":["%s.%s"]}`, cube, m)},
			oracleCase{name: m + " by " + dimension, query: fmt.Sprintf(`{"measures":["%s.%s"],"dimensions":["%[1]s.%[3]s"]}`, cube, m, dimension)})
	}
	return cases
}

func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a mistake in this file
	}
	return string(text)
}

// filtered asks for the names of the users that filters leave.
func filtered(name string, filters ...any) oracleCase {
	return oracleCase{name: name, query: `{"dimensions":["users.id"],"filters":` + jsonOf(filters) + `}`}
}

type condition struct {
	Member   string `json:"member"`
	Operator string `json:"operator"`
	Values   []any  `json:"values,omitempty"`
}

// operatorCases asks with every operator of cube-rest-api.md §9.2, with each shape of values that it takes.
func operatorCases() (cases []oracleCase) {
	add := func(member, operator, shape string, values ...any) {
		cases = append(cases, filtered(member+" "+operator+" "+shape, condition{"users." + member, operator, values}))
	}
	for _, op := range []string{"equals", "notEquals", "in", "notIn"} {
		add("country", op, "one", "DE")
		add("country", op, "several", "DE", "FR")
		add("country", op, "with null", "DE", nil)
		add("country", op, "null", nil)
		add("age", op, "one", 25)
		add("age", op, "several", 25, "30")
		add("credit", op, "fraction", "102.50")
		add("vip", op, "true", true)
		add("vip", op, "false", false)
		add("name", op, "quotes", "O'Hara", `Ümlaut "quoted"`, `back\slash`)
	}
	for _, op := range []string{"contains", "notContains", "startsWith", "notStartsWith", "endsWith", "notEndsWith"} {
		add("name", op, "one", "USER")
		add("name", op, "several", "ser 1", "hara", "8")
		add("name", op, "with null", "user", nil)
		add("name", op, "wildcards", "%")
		add("name", op, "underscore", "_")
		add("name", op, "backslash", `\`)
	}
	for _, op := range []string{"gt", "gte", "lt", "lte"} {
		add("age", op, "number", 30)
		add("credit", op, "fraction", "205.5")
		add("age", op, "first of several", 30, 50)
	}
	for _, member := range []string{"name", "age", "vip", "signed_up"} {
		add(member, "set", "")
		add(member, "notSet", "")
	}
	for _, op := range []string{"inDateRange", "notInDateRange", "onTheDate"} {
		add("signed_up", op, "days", "2023-08-01", "2023-09-01")
		add("signed_up", op, "one day", "2023-08-06")
		day := &cases[len(cases)-1] // the gateway makes a whole day of it
		day.handedOn = strings.Replace(day.query, `"2023-08-06"`, `"2023-08-06","2023-08-06"`, 1)
		add("signed_up", op, "times", "2023-08-06T06:00:00", "2023-10-01 12:00:00")
	}
	for _, op := range []string{"beforeDate", "beforeOrOnDate", "afterDate", "afterOrOnDate"} {
		add("signed_up", op, "day", "2023-08-06")
		add("signed_up", op, "time", "2023-08-06T15:00:00.000")
	}
	country, age := condition{"users.country", "equals", []any{"DE"}}, condition{"users.age", "gt", []any{40}}
	vip := condition{"users.vip", "set", nil}
	type or struct {
		Or []any `json:"or"`
	}
	type and struct {
		And []any `json:"and"`
	}
	cases = append(cases,
		filtered("or", or{[]any{country, age}}), filtered("and", and{[]any{country, age}}),
		filtered("or of and", or{[]any{and{[]any{country, age}}, vip}}), filtered("and of or", and{[]any{or{[]any{country, age}}, vip}}),
		filtered("nested thrice", or{[]any{and{[]any{or{[]any{country, vip}}, age}}, condition{"users.credit", "lt", []any{50}}}}),
		filtered("several at the top", country, or{[]any{age, vip}}),
		filtered("an empty group", or{[]any{}}, country),
	)
	having := func(name, filter string) {
		cases = append(cases, oracleCase{name: name, query: `{"measures":["users.count"],"dimensions":["users.country"],"filters":[` + filter + `]}`})
	}
	for _, op := range []string{"equals", "notEquals", "gt", "gte", "lt", "lte"} {
		having("count "+op, fmt.Sprintf(`{"member":"users.count","operator":%q,"values":["7"]}`, op))
		having("total "+op, fmt.Sprintf(`{"member":"users.total","operator":%q,"values":["1435.5"]}`, op))
	}
	having("total set", `{"member":"users.total","operator":"set"}`)
	having("total notSet", `{"member":"users.total","operator":"notSet"}`)
	having("an or of measures", `{"or":[{"member":"users.total","operator":"gt","values":["1500"]},{"member":"users.vips","operator":"equals","values":["0"]}]}`)
	having("measure and dimension", `{"member":"users.count","operator":"gt","values":[2]},{"member":"users.age","operator":"lt","values":[40]}`)
	having("measure and dimension in one group", `{"or":[{"member":"users.count","operator":"gt","values":[2]},{"member":"users.age","operator":"lt","values":[40]}]}`)
	having("measureFilter", `{"member":"users.vips","operator":"measureFilter"}`)
	return cases
}

// timeCases crosses granularities with zones, and asks for ranges around the nights on which clocks change.
func timeCases() (cases []oracleCase) {
	granularities := []string{"second", "minute", "hour", "day", "week", "month", "quarter", "year"}
	zones := []string{"UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"}
	for _, zone := range zones {
		for _, g := range granularities {
			cases = append(cases, oracleCase{name: g + " in " + zone, query: fmt.Sprintf(
				`{"measures":["orders.count"],"timezone":%q,"timeDimensions":[{"dimension":"orders.created_at","granularity":%q}]}`, zone, g)})
		}
	}
	for _, g := range []string{"hour", "day", "week"} {
		cases = append(cases, oracleCase{name: g + " of a time with zone", query: fmt.Sprintf(
			`{"measures":["orders.total"],"timezone":"Europe/Berlin","timeDimensions":[{"dimension":"orders.shipped_at","granularity":%q}]}`, g)})
	}
	for _, night := range []struct{ zone, day string }{
		{"America/New_York", "2024-03-10"}, {"America/New_York", "2024-11-03"}, {"Europe/Berlin", "2024-03-31"}, {"Europe/Berlin", "2024-10-27"},
		{"Australia/Lord_Howe", "2024-04-07"}, {"Australia/Lord_Howe", "2024-10-06"}, {"Asia/Kathmandu", "2024-07-01"}, {"UTC", "2024-12-31"},
	} {
		for _, g := range []string{"hour", "day"} {
			cases = append(cases, oracleCase{name: g + " on " + night.day + " in " + night.zone, query: fmt.Sprintf(
				`{"measures":["orders.count","orders.total"],"timezone":%q,"timeDimensions":[{"dimension":"orders.created_at","granularity":%q,"dateRange":[%q,%[3]q]}]}`, night.zone, g, night.day)})
		}
		cases = append(cases, oracleCase{name: "only a range on " + night.day + " in " + night.zone, query: fmt.Sprintf(
			`{"measures":["orders.count"],"timezone":%q,"timeDimensions":[{"dimension":"orders.created_at","dateRange":[%q,%[2]q]}]}`, night.zone, night.day)})
	}
	return append(cases,
		oracleCase{name: "a range of times", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-03-10T04:59:59","2024-03-10 07:00:00.000"]}]}`},
		oracleCase{name: "a range of one", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-03-10"]}]}`},
		oracleCase{name: "a relative range", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":"last 40 months"}]}`},
		oracleCase{name: "two granularities", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"},{"dimension":"orders.created_at","granularity":"quarter"}]}`},
		oracleCase{name: "two time dimensions", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"},{"dimension":"orders.shipped_at","granularity":"month","dateRange":["2024-02-01","2024-06-30"]}]}`},
		oracleCase{name: "a granularity as a dimension", query: `{"measures":["orders.count"],"dimensions":["orders.created_at.month"]}`},
		oracleCase{name: "a time as a dimension", query: `{"dimensions":["orders.created_at"],"timezone":"America/New_York","filters":[{"member":"orders.id","operator":"gte","values":[1000]}]}`},
		oracleCase{name: "a time with zone as a dimension", query: `{"dimensions":["orders.shipped_at"],"timezone":"Asia/Kathmandu","filters":[{"member":"orders.id","operator":"lt","values":[40]}]}`},
		oracleCase{name: "what is made of a time", query: `{"measures":["orders.count"],"dimensions":["orders.hour"],"timezone":"America/New_York"}`},
		oracleCase{name: "what CUBE makes of a time", query: `{"measures":["orders.count"],"dimensions":["orders.weekday"],"timezone":"Asia/Kathmandu"}`},
		oracleCase{name: "the text of a time", query: `{"measures":["orders.count"],"dimensions":["orders.day_text"],"timezone":"Australia/Lord_Howe"}`},
		oracleCase{name: "the latest time", query: `{"measures":["orders.last"],"dimensions":["orders.status"],"timezone":"America/New_York"}`},
		oracleCase{name: "a filter on the time", query: `{"measures":["orders.count"],"timezone":"America/New_York","filters":[{"member":"orders.created_at","operator":"inDateRange","values":["2024-11-03","2024-11-03"]}]}`},
		oracleCase{name: "after a night of change", query: `{"measures":["orders.count"],"timezone":"Europe/Berlin","filters":[{"member":"orders.created_at","operator":"afterOrOnDate","values":["2024-10-27T02:00:00"]}]}`},
		oracleCase{name: "set", query: `{"measures":["orders.count"],"filters":[{"member":"orders.shipped_at","operator":"set"}]}`},
		oracleCase{name: "equal to a time", query: `{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"equals","values":["2024-11-03T05:30:00.000"]}]}`},
		oracleCase{name: "later than a time", query: `{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"gt","values":["2024-11-03T05:30:00.000"]}]}`},
	)
}

var compositeCases = []oracleCase{
	{name: "counted", query: `{"measures":["line_items.count"]}`},
	{name: "counted by a joined cube", query: `{"measures":["line_items.count","line_items.qty"],"dimensions":["orders.status"]}`},
	{name: "multiplied", query: `{"measures":["line_items.count"],"dimensions":["payments.method"]}`},
	{name: "sums multiplied", query: `{"measures":["line_items.qty","payments.paid"],"dimensions":["orders.status"]}`},
	{name: "filtered count multiplied", query: `{"measures":["line_items.many"],"dimensions":["payments.method"]}`},
	{name: "the keys", query: `{"dimensions":["line_items.order_id","line_items.line"],"filters":[{"member":"line_items.order_id","operator":"lt","values":[8]}]}`},
	{name: "all counts", query: `{"measures":["line_items.count","orders.count","payments.count"]}`},
}

// snowflakeCases asks for dimensions over paths of one to three joins.
func snowflakeCases() (cases []oracleCase) {
	for _, m := range []string{"line_items.qty", "line_items.count", "line_items.revenue"} {
		for _, d := range []string{"orders.status", "orders.buyer_country", "users.country", "countries.continent", "products.label", "countries.name"} {
			cases = append(cases, oracleCase{name: m + " by " + d, query: fmt.Sprintf(`{"measures":[%q],"dimensions":[%q]}`, m, d)})
		}
	}
	return append(cases,
		oracleCase{name: "orders by continent", query: `{"measures":["orders.total","orders.count"],"dimensions":["countries.continent"]}`},
		oracleCase{name: "a filter adds the joins", query: `{"measures":["line_items.qty"],"filters":[{"member":"countries.continent","operator":"equals","values":["Europe"]}]}`},
		oracleCase{name: "a filter on a member that refers", query: `{"measures":["orders.count"],"filters":[{"member":"orders.buyer_country","operator":"equals","values":["DE"]}]}`},
		oracleCase{name: "dimensions of three cubes", query: `{"dimensions":["countries.continent","users.country","orders.status"]}`},
		oracleCase{name: "counts of both ends", query: `{"measures":["line_items.count","countries.count"]}`},
		oracleCase{name: "a total of what is multiplied", query: `{"measures":["orders.total"],"dimensions":["products.label"]}`},
		oracleCase{name: "time of a joined cube", query: `{"measures":["line_items.qty"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}]}`},
		oracleCase{name: "no path", query: `{"measures":["products.price","countries.count"]}`},
		oracleCase{name: "a dimension of no measure's tree", query: `{"measures":["users.count"],"dimensions":["products.label"]}`},
		oracleCase{name: "unknown member", query: `{"measures":["orders.nothing"]}`},
		oracleCase{name: "unknown cube", query: `{"measures":["nothing.count"]}`},
	)
}

// fanOutCases asks for each measure with and without what multiplies it.
func fanOutCases() (cases []oracleCase) {
	for _, m := range []string{"count", "total", "average", "most", "least", "buyers", "priced", "done", "done_total", "done_share", "per_order"} {
		cases = append(cases,
			oracleCase{name: m + " by sku", query: fmt.Sprintf(`{"measures":["orders.%s"],"dimensions":["line_items.sku"]}`, m)},
			oracleCase{name: m + " with qty", query: fmt.Sprintf(`{"measures":["orders.%s","line_items.qty"],"dimensions":["orders.status"]}`, m)},
			oracleCase{name: m + " with qty, no dimension", query: fmt.Sprintf(`{"measures":["orders.%s","line_items.qty"]}`, m)})
	}
	return append(cases,
		oracleCase{name: "filtered by what multiplies", query: `{"measures":["orders.total"],"filters":[{"member":"line_items.sku","operator":"equals","values":["p1","p2"]}]}`},
		oracleCase{name: "having on what is multiplied", query: `{"measures":["line_items.qty"],"dimensions":["line_items.sku"],"filters":[{"member":"orders.total","operator":"gt","values":[9000]}]}`},
		oracleCase{name: "by time", query: `{"measures":["orders.total","line_items.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"quarter"}]}`},
		oracleCase{name: "ordered and limited", query: `{"measures":["orders.total","line_items.qty"],"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]],"limit":4,"offset":1}`},
		oracleCase{name: "total of what is multiplied", query: `{"measures":["orders.total"],"dimensions":["line_items.sku"],"limit":3,"order":[["line_items.sku","asc"]],"total":true}`},
	)
}

func chasmCases() (cases []oracleCase) {
	for _, dims := range []string{``, `"users.country"`, `"users.vip"`, `"users.country","users.vip"`, `"orders.status"`} {
		for name, measures := range map[string]string{
			"two sums": `"orders.total","reviews.sum"`, "sum and average": `"orders.total","reviews.stars"`, "three": `"users.credit","orders.total","reviews.count"`,
			"counts": `"users.count","orders.count","reviews.count"`, "one": `"users.credit"`, "a ratio": `"users.per_user"`,
		} {
			cases = append(cases, oracleCase{name: strings.TrimSuffix(name+" by "+strings.ReplaceAll(dims, `"`, ""), " by "), query: fmt.Sprintf(`{"measures":[%s],"dimensions":[%s]}`, measures, dims)})
		}
	}
	slices.SortFunc(cases, func(a, b oracleCase) int { return strings.Compare(a.name, b.name) })
	return append(cases,
		oracleCase{name: "filtered by one branch", query: `{"measures":["reviews.sum","users.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`},
		oracleCase{name: "having of both", query: `{"measures":["orders.total","reviews.sum"],"dimensions":["users.country"],"filters":[{"member":"reviews.sum","operator":"gt","values":[50]},{"member":"orders.total","operator":"gt","values":[100]}]}`},
	)
}

var synonymCases = []oracleCase{
	{name: "hasMany", query: `{"measures":["Orders.totalAmount","Users.userCount"],"dimensions":["Users.firstName"]}`},
	{name: "belongsTo", query: `{"measures":["Users.userCount"],"dimensions":["Countries.continent"]}`},
	{name: "hasOne", query: `{"measures":["Countries.countryCount"],"dimensions":["Places.placeName"]}`},
	{name: "path of three", query: `{"measures":["Users.userCount"],"dimensions":["Places.placeName"]}`},
	{name: "multiplied over hasMany", query: `{"measures":["Users.userCount"],"dimensions":["Orders.currentStatus"]}`},
	{name: "by day", query: `{"measures":["Orders.orderCount","Orders.uniqueBuyers"],"timeDimensions":[{"dimension":"Orders.createdAt","granularity":"month"}]}`},
	{name: "both ends", query: `{"measures":["Orders.totalAmount","Countries.countryCount"],"dimensions":["Countries.continent"]}`},
}

var caseCases = []oracleCase{
	{name: "labels", query: `{"measures":["orders.count"],"dimensions":["orders.size"]}`},
	{name: "labels of SQL over a join", query: `{"measures":["orders.count"],"dimensions":["orders.origin"]}`},
	{name: "referred to", query: `{"measures":["orders.total"],"dimensions":["orders.label"]}`},
	{name: "filtered", query: `{"measures":["orders.count"],"filters":[{"member":"orders.size","operator":"equals","values":["large","small"]}]}`},
	{name: "filtered over a join", query: `{"measures":["orders.count"],"filters":[{"member":"orders.origin","operator":"equals","values":["nowhere"]}]}`},
	{name: "two", query: `{"measures":["orders.count"],"dimensions":["orders.size","orders.label"]}`},
}

var segmentCases = []oracleCase{
	{name: "one", query: `{"measures":["orders.count"],"segments":["orders.done"]}`},
	{name: "an or inside", query: `{"measures":["orders.count"],"segments":["orders.done","orders.either"]}`},
	{name: "by a member", query: `{"measures":["orders.total"],"dimensions":["orders.status"],"segments":["orders.by_member"]}`},
	{name: "over a join", query: `{"measures":["orders.count"],"segments":["orders.of_germans"]}`},
	{name: "of a joined cube", query: `{"measures":["orders.count"],"segments":["users.grown"]}`},
	{name: "with filters", query: `{"measures":["orders.count"],"dimensions":["users.country"],"segments":["orders.either"],"filters":[{"member":"orders.status","operator":"notEquals","values":["void"]}]}`},
	{name: "unknown", query: `{"measures":["orders.count"],"segments":["orders.nothing"]}`},
}

var viewCases = []oracleCase{
	{name: "by own dimension", query: `{"measures":["sales.count","sales.total"],"dimensions":["sales.status"]}`},
	{name: "by a prefixed dimension", query: `{"measures":["sales.total"],"dimensions":["sales.users_country"]}`},
	{name: "by a dimension two joins away", query: `{"measures":["sales.count"],"dimensions":["sales.continent"]}`},
	{name: "by an alias", query: `{"measures":["sales.count"],"timeDimensions":[{"dimension":"sales.ordered_at","granularity":"month"}],"timezone":"America/New_York"}`},
	{name: "a number", query: `{"measures":["sales.share"],"dimensions":["sales.users_country"]}`},
	{name: "a segment", query: `{"measures":["sales.count"],"segments":["sales.done_only"]}`},
	{name: "filters", query: `{"measures":["sales.total"],"filters":[{"member":"sales.users_country","operator":"equals","values":["DE"]},{"member":"sales.total","operator":"gt","values":[1]}]}`},
	{name: "a count of both", query: `{"measures":["sales.count","sales.users_count"],"dimensions":["sales.continent"]}`},
	{name: "multiplied", query: `{"measures":["items.total","items.item_qty"],"dimensions":["items.item_sku"]}`},
	{name: "alias as prefix", query: `{"measures":["items.item_qty"],"dimensions":["items.status"]}`},
	{name: "all but", query: `{"measures":["items.done","items.count"],"timeDimensions":[{"dimension":"items.created_at","granularity":"quarter"}]}`},
	{name: "ungrouped", query: `{"measures":["sales.total"],"dimensions":["sales.status","sales.users_name"],"ungrouped":true}`},
	{name: "excluded", query: `{"dimensions":["sales.users_id"]}`},
	{name: "with members of its cube", query: `{"measures":["sales.total"],"dimensions":["orders.status"]}`},
}

var diamondCases = []oracleCase{
	{name: "buyers", query: `{"measures":["orders.total"],"dimensions":["buyers.country"]}`},
	{name: "managers", query: `{"measures":["orders.total"],"dimensions":["managers.country"]}`},
	{name: "both", query: `{"measures":["orders.count"],"dimensions":["buyers.country","managers.country"]}`},
	{name: "a view of both", query: `{"measures":["reports.total"],"dimensions":["reports.buyers_country","reports.managers_country"]}`},
	{name: "a view of the far one", query: `{"measures":["reports.count"],"dimensions":["reports.managers_country"]}`},
	{name: "counts", query: `{"measures":["orders.count","buyers.count","managers.count"]}`},
}

var inheritanceCases = []oracleCase{
	{name: "parent", query: `{"measures":["base.count","base.total","base.average"],"dimensions":["base.status"]}`},
	{name: "child", query: `{"measures":["european.count","european.total","european.average"],"dimensions":["european.status"]}`},
	{name: "child's own", query: `{"measures":["european.count"],"dimensions":["european.kind"]}`},
	{name: "grandchild", query: `{"measures":["european_done.count","european_done.total","european_done.least"],"dimensions":["european_done.kind"]}`},
	{name: "inherited join", query: `{"measures":["european_done.total"],"dimensions":["users.country"]}`},
	{name: "inherited segment", query: `{"measures":["european.count"],"segments":["european.paid"]}`},
	{name: "inherited time", query: `{"measures":["european.total"],"timeDimensions":[{"dimension":"european.created_at","granularity":"month"}]}`},
}

var filterParamsCases = []oracleCase{
	{name: "none", query: `{"measures":["recent.count"]}`},
	{name: "a range", query: `{"measures":["recent.count"],"timeDimensions":[{"dimension":"recent.created_at","dateRange":["2024-02-01","2024-04-30"]}]}`},
	{name: "a range with granularity and zone", query: `{"measures":["recent.total"],"timezone":"America/New_York","timeDimensions":[{"dimension":"recent.created_at","granularity":"month","dateRange":["2024-02-01","2024-04-30"]}]}`},
	{name: "a value", query: `{"measures":["recent.count"],"filters":[{"member":"recent.status","operator":"equals","values":["done"]}]}`},
	{name: "several values", query: `{"measures":["recent.count"],"dimensions":["recent.kind"],"filters":[{"member":"recent.status","operator":"equals","values":["done","open"]}]}`},
	{name: "not equal", query: `{"measures":["recent.count"],"filters":[{"member":"recent.status","operator":"notEquals","values":["done"]}]}`},
	{name: "contains", query: `{"measures":["recent.count"],"filters":[{"member":"recent.status","operator":"contains","values":["o"]}]}`},
	{name: "set", query: `{"measures":["recent.count"],"filters":[{"member":"recent.status","operator":"set"}]}`},
	{name: "a function", query: `{"measures":["recent.count"],"filters":[{"member":"recent.amount","operator":"gt","values":["250"]}]}`},
	{name: "several filters on one member", query: `{"measures":["recent.count"],"filters":[{"member":"recent.status","operator":"contains","values":["o"]},{"member":"recent.status","operator":"notEquals","values":["void"]}]}`},
	{name: "inside or", query: `{"measures":["recent.count"],"filters":[{"or":[{"member":"recent.status","operator":"equals","values":["done"]},{"member":"recent.kind","operator":"equals","values":["a"]}]}]}`},
	{name: "or of one member", query: `{"measures":["recent.count"],"filters":[{"or":[{"member":"recent.status","operator":"equals","values":["done"]},{"member":"recent.status","operator":"equals","values":["void"]}]}]}`},
	{name: "inside and", query: `{"measures":["recent.count"],"filters":[{"and":[{"member":"recent.status","operator":"equals","values":["done"]},{"member":"recent.kind","operator":"equals","values":["a"]}]}]}`},
	{name: "through a view", query: `{"measures":["fresh.count"],"filters":[{"member":"fresh.status","operator":"equals","values":["done"]}],"timeDimensions":[{"dimension":"fresh.created_at","dateRange":["2024-03-01","2024-06-30"]}]}`},
	{name: "a function of two", query: `{"measures":["between_days.count"],"dimensions":["between_days.inside"],"timeDimensions":[{"dimension":"between_days.created_at","dateRange":["2024-03-01","2024-06-30"]}]}`},
	{name: "a function of two, unfiltered", query: `{"measures":["between_days.count"],"dimensions":["between_days.inside"]}`},
}

var filterGroupCases = []oracleCase{
	{name: "none", query: `{"measures":["orders.count"]}`},
	{name: "one", query: `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`},
	{name: "two", query: `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]},{"member":"orders.kind","operator":"equals","values":["a"]}]}`},
	{name: "or", query: `{"measures":["orders.count"],"filters":[{"or":[{"member":"orders.status","operator":"equals","values":["done"]},{"member":"orders.kind","operator":"equals","values":["a"]}]}]}`},
	{name: "or with another", query: `{"measures":["orders.count"],"filters":[{"or":[{"member":"orders.status","operator":"equals","values":["done"]},{"member":"orders.region","operator":"equals","values":["eu"]}]}]}`},
	{name: "and of or", query: `{"measures":["orders.total"],"dimensions":["orders.region"],"filters":[{"and":[{"or":[{"member":"orders.status","operator":"equals","values":["done"]},{"member":"orders.kind","operator":"equals","values":["a"]}]},{"member":"orders.amount","operator":"gt","values":[50]}]}]}`},
	{name: "or of and", query: `{"measures":["orders.count"],"filters":[{"or":[{"and":[{"member":"orders.status","operator":"equals","values":["done"]},{"member":"orders.amount","operator":"lt","values":["300"]}]},{"member":"orders.kind","operator":"equals","values":["b"]}]}]}`},
}

var contextCases = []oracleCase{
	{name: "a number", context: `{"tenant_id":7}`, query: `{"measures":["users.count","users.credit"]}`},
	{name: "a text", context: `{"tenant_id":"8"}`, query: `{"measures":["users.count"]}`},
	{name: "a list", context: `{"tenant_id":[7,9]}`, query: `{"measures":["users.count"],"dimensions":["users.country"]}`},
	{name: "an empty list", context: `{"tenant_id":[]}`, query: `{"measures":["users.count"]}`},
	{name: "missing", query: `{"measures":["users.count"]}`},
	{name: "null", context: `{"tenant_id":null}`, query: `{"measures":["users.count"]}`},
	{name: "zero", context: `{"tenant_id":0}`, query: `{"measures":["users.count"]}`},
	{name: "required", context: `{"access":{"regions":["eu","us"]},"kinds":["a"]}`, query: `{"measures":["orders.count","orders.total"],"dimensions":["orders.status"]}`},
	{name: "required, one value", context: `{"access":{"regions":"eu"},"kinds":["a","b"]}`, query: `{"measures":["orders.count"]}`},
	{name: "required and missing", context: `{"kinds":["a"]}`, query: `{"measures":["orders.count"]}`},
	{name: "of every cube of a join", context: `{"tenant_id":7,"access":{"regions":["eu"]},"kinds":["a","b","c"]}`, query: `{"measures":["users.credit","orders.total"],"dimensions":["users.country"]}`},
	{name: "a value alone", context: `{"word":"done"}`, query: `{"measures":["words.count"]}`},
	{name: "unsafeValue", context: `{"table":"orders"}`, query: `{"measures":["tables.count"]}`},
	{name: "unsafeValue of SQL", context: `{"table":"(SELECT 1 AS id) AS x"}`, query: `{"measures":["tables.count"]}`},
}

var derivedCases = []oracleCase{
	{name: "alias", query: `{"measures":["orders.count","orders.total"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"year"}]}`},
	{name: "sql of another cube", query: `{"measures":["by_user.people","by_user.mean"]}`},
	{name: "joined on two conditions", query: `{"measures":["by_user.mean"],"dimensions":["users.country"]}`},
	{name: "by a derived column", query: `{"measures":["by_user.people"],"dimensions":["by_user.orders"]}`},
	{name: "filtered", query: `{"measures":["by_user.people"],"filters":[{"member":"by_user.orders","operator":"gte","values":[7]}]}`},
	{name: "alias of a joined cube", query: `{"measures":["users.count"],"dimensions":["users.country","users.age"],"order":[["users.age","desc"],["users.country","asc"]]}`},
}

var oneToOneCases = []oracleCase{
	{name: "one to one", query: `{"measures":["products.count","ranks.votes"],"dimensions":["ranks.stars"]}`},
	{name: "sums of both", query: `{"measures":["products.worth","ranks.votes"],"dimensions":["products.label"]}`},
	{name: "no dimension", query: `{"measures":["products.worth","ranks.votes"]}`},
}

var pagingCases = []oracleCase{
	{name: "limit", query: `{"dimensions":["orders.id"],"order":[["orders.id","asc"]],"limit":7}`},
	{name: "limit and offset", query: `{"dimensions":["orders.id","orders.status"],"order":[["orders.id","desc"]],"limit":7,"offset":5}`},
	{name: "offset alone", query: `{"dimensions":["orders.id"],"order":[["orders.id","asc"]],"offset":300}`},
	{name: "limit zero", query: `{"dimensions":["orders.status"],"limit":0}`},
	{name: "default order by measure", query: `{"measures":["orders.total"],"dimensions":["users.country"],"limit":2}`},
	{name: "default order by dimension", query: `{"dimensions":["users.country","orders.kind"],"limit":3}`},
	{name: "default order by time", query: `{"measures":["orders.total"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}],"limit":5}`},
	{name: "no order", query: `{"measures":["orders.total"],"dimensions":["orders.kind"],"order":[]}`},
	{name: "an object as order", query: `{"measures":["orders.count","orders.total"],"dimensions":["orders.kind"],"order":{"orders.total":"asc"},"limit":2}`},
	{name: "two orders", query: `{"measures":["orders.total"],"dimensions":["orders.status","orders.kind"],"order":[["orders.status","desc"],["orders.kind","asc"]]}`},
	{name: "order by a granularity", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"quarter"}],"order":[["orders.created_at.quarter","desc"]],"limit":3}`},
	{name: "order by a time dimension", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"quarter"}],"order":[["orders.created_at","desc"]],"limit":3}`},
	{name: "order by what is not selected", query: `{"measures":["orders.count"],"dimensions":["orders.kind"],"order":[["orders.status","asc"]]}`},
	{name: "nulls ascending", query: `{"dimensions":["orders.status"],"order":[["orders.status","asc"]]}`},
	{name: "nulls descending", query: `{"measures":["orders.most"],"dimensions":["orders.status"],"order":[["orders.status","desc"]]}`},
	{name: "total", query: `{"measures":["orders.count"],"dimensions":["orders.status"],"order":[["orders.status","asc"]],"limit":2,"total":true}`},
	{name: "total with having", query: `{"measures":["orders.count"],"dimensions":["users.country"],"filters":[{"member":"orders.count","operator":"gt","values":[40]}],"order":[["users.country","asc"]],"limit":1,"total":true}`},
	{name: "total of dimensions", query: `{"dimensions":["orders.status","orders.kind"],"order":[["orders.status","asc"],["orders.kind","asc"]],"limit":3,"offset":2,"total":true}`},
	{name: "total of measures", query: `{"measures":["orders.count"],"total":true}`},
	{name: "total by time", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":["2024-02-10","2024-07-20"]}],"limit":2,"total":true}`},
}

var ungroupedCases = []oracleCase{
	{name: "rows", query: `{"measures":["orders.count","orders.total","orders.average"],"dimensions":["orders.id"],"ungrouped":true}`},
	{name: "rows without key", query: `{"measures":["orders.total"],"dimensions":["orders.status"],"ungrouped":true}`},
	{name: "filtered measures", query: `{"measures":["orders.done","orders.done_total"],"dimensions":["orders.id"],"ungrouped":true}`},
	{name: "distinct and number", query: `{"measures":["orders.buyers","orders.twice"],"dimensions":["orders.id"],"ungrouped":true}`},
	{name: "joined", query: `{"measures":["orders.total"],"dimensions":["orders.id","users.country"],"ungrouped":true}`},
	{name: "fan-out is not corrected", query: `{"measures":["orders.total","line_items.qty"],"dimensions":["orders.id"],"ungrouped":true}`},
	{name: "time", query: `{"measures":["orders.total"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":["2024-03-01","2024-03-31"]}],"ungrouped":true}`},
	{name: "segment, filter, order and limit", query: `{"dimensions":["orders.id","orders.status"],"segments":["orders.paid"],"filters":[{"member":"orders.status","operator":"set"}],"order":[["orders.id","asc"]],"limit":9,"ungrouped":true}`},
	{name: "total", query: `{"dimensions":["orders.status"],"ungrouped":true,"total":true}`},
	{name: "a measure filter", query: `{"measures":["orders.count"],"dimensions":["orders.id"],"filters":[{"member":"orders.count","operator":"gt","values":[1]}],"ungrouped":true}`},
}

var acrossCases = []oracleCase{
	{name: "ratio over cubes", query: `{"measures":["line_items.per_order"]}`},
	{name: "ratio by the many side", query: `{"measures":["line_items.per_order"],"dimensions":["line_items.sku"]}`},
	{name: "ratio by the one side", query: `{"measures":["line_items.per_order"],"dimensions":["orders.status"]}`},
	{name: "ratio and sum", query: `{"measures":["line_items.mixed"],"dimensions":["orders.kind"]}`},
	{name: "a dimension that refers", query: `{"measures":["line_items.qty"],"dimensions":["line_items.order_status"]}`},
	{name: "a measure's filter over a join", query: `{"measures":["line_items.done_qty"],"dimensions":["line_items.sku"]}`},
	{name: "everything", query: `{"measures":["line_items.qty","line_items.per_order","orders.total"],"dimensions":["orders.status"]}`},
}

func threeFactsCases() (cases []oracleCase) {
	for _, dims := range []string{``, `"orders.status"`, `"orders.region"`, `"payments.method"`, `"products.label"`} {
		for _, measures := range []string{`"orders.total","line_items.qty","payments.paid"`, `"orders.count","line_items.count","payments.count"`, `"orders.discount","payments.largest"`, `"payments.paid"`} {
			cases = append(cases, oracleCase{name: strings.ReplaceAll(measures+" by "+dims, `"`, ""), query: fmt.Sprintf(`{"measures":[%s],"dimensions":[%s]}`, measures, dims)})
		}
	}
	return append(cases,
		oracleCase{name: "by two times", query: `{"measures":["orders.total","payments.paid"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"quarter"},{"dimension":"payments.paid_at","granularity":"quarter"}]}`},
		oracleCase{name: "segment and filter", query: `{"measures":["orders.total","line_items.qty","payments.paid"],"dimensions":["orders.region"],"segments":["orders.paid"],"filters":[{"member":"payments.method","operator":"equals","values":["card",null]}]}`},
	)
}

var rollupCases = []oracleCase{
	{name: "what a rollup would serve", query: `{"measures":["orders.count"],"dimensions":["orders.status"]}`},
	{name: "by day", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-03-01","2024-03-31"]}]}`},
	{name: "what it would not", query: `{"measures":["orders.total"],"dimensions":["orders.status"]}`},
}

var subQueryCases = []oracleCase{
	{name: "grouped by", query: `{"measures":["users.count"],"dimensions":["users.orders_count"]}`},
	{name: "averaged", query: `{"measures":["users.average"],"dimensions":["users.country"]}`},
	{name: "filtered", query: `{"measures":["users.count"],"filters":[{"member":"users.orders_count","operator":"gt","values":[7]}]}`},
	{name: "propagated", query: `{"dimensions":["users.spent"],"filters":[{"member":"users.country","operator":"equals","values":["DE"]}]}`},
}

var rollingCases = []oracleCase{
	{name: "trailing week", query: `{"measures":["orders.week"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-02-01","2024-02-29"]}]}`},
	{name: "unbounded", query: `{"measures":["orders.ever"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":["2024-02-01","2024-06-30"]}]}`},
	{name: "beside a sum", query: `{"measures":["orders.total","orders.week"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week","dateRange":["2024-02-05","2024-03-31"]}]}`},
	{name: "by a dimension", query: `{"measures":["orders.ever"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":["2024-02-01","2024-04-30"]}]}`},
	{name: "without granularity", query: `{"measures":["orders.week"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-02-01","2024-02-29"]}]}`},
	{name: "without time", query: `{"measures":["orders.week"]}`},
}

var customGranularityCases = []oracleCase{
	{name: "offset", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"fiscal_year"}]}`},
	{name: "origin", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"sprint","dateRange":["2024-02-01","2024-05-31"]}]}`},
	{name: "half hours in a zone", query: `{"measures":["orders.count"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"half_hour","dateRange":["2024-11-03","2024-11-03"]}]}`},
	{name: "unknown", query: `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"fortnight"}]}`},
}

// Two ways lead from one cube to another: the shortest is taken, or the one that a view names.
var pathCases = []oracleCase{
	{name: "the shortest", query: `{"measures":["payments.paid"],"dimensions":["users.country"]}`},
	{name: "over the other cube", query: `{"measures":["payments.paid"],"dimensions":["users.country","orders.status"]}`},
	{name: "that a view names", query: `{"measures":["by_order.paid"],"dimensions":["by_order.country"]}`},
	{name: "that another view names", query: `{"measures":["directly.paid"],"dimensions":["directly.country"]}`},
	{name: "of both measures", query: `{"measures":["payments.paid","orders.total"],"dimensions":["users.country"]}`},
	{name: "from the other end", query: `{"measures":["users.count"],"dimensions":["payments.method"]}`},
	{name: "of a filter", query: `{"measures":["payments.count"],"filters":[{"member":"users.country","operator":"equals","values":["DE"]}]}`},
	{name: "hinted", query: `{"measures":["payments.paid"],"dimensions":["users.country"],"joinHints":[["payments","orders"],["orders","users"]]}`},
}

// A measure is multiplied by what is several joins away.
var chainCases = []oracleCase{
	{name: "counts of all", query: `{"measures":["countries.count","users.count","orders.count","line_items.count"]}`},
	{name: "sums of all by the first", query: `{"measures":["users.credit","orders.total","line_items.qty"],"dimensions":["countries.continent"]}`},
	{name: "the first by the last", query: `{"measures":["countries.count","users.credit"],"dimensions":["line_items.sku"]}`},
	{name: "the middle by both ends", query: `{"measures":["orders.total"],"dimensions":["countries.continent","line_items.sku"]}`},
	{name: "time of the middle", query: `{"measures":["users.credit","line_items.qty"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"quarter","dateRange":["2024-01-01","2024-12-31"]}]}`},
	{name: "filtered at both ends", query: `{"measures":["orders.total","users.credit"],"filters":[{"member":"countries.continent","operator":"equals","values":["Europe"]},{"member":"line_items.sku","operator":"set"}]}`},
	{name: "a number over three cubes", query: `{"measures":["users.qty_per_credit"],"dimensions":["countries.continent"]}`},
	{name: "having at the end", query: `{"measures":["users.credit"],"dimensions":["countries.name"],"filters":[{"member":"line_items.qty","operator":"gt","values":[200]}]}`},
	{name: "ordered by what is multiplied", query: `{"measures":["users.credit","line_items.qty"],"dimensions":["countries.name"],"order":[["users.credit","desc"],["countries.name","asc"]],"limit":3}`},
	{name: "total", query: `{"measures":["users.credit","line_items.qty"],"dimensions":["countries.name"],"order":[["countries.name","asc"]],"limit":1,"total":true}`},
}
