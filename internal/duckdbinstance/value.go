//go:build cgo

package duckdbinstance

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/driverfactory"
)

// Value converts v, as DuckDB's driver returned it for a column of the named type, to one of the types that
// driverfactory.Rows promises. Its Go type says as much as the name, but for two.
func Value(dbType string, v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string:
		return v
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return whole(new(big.Int).SetUint64(v))
	case *big.Int:
		return whole(v)
	case float32:
		f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
		if err != nil {
			return float64(v)
		}
		return f
	case duckdb.Decimal:
		return driverfactory.Decimal(decimal(v.Value, int(v.Scale)))
	case time.Time:
		if strings.HasPrefix(dbType, "TIME") && !strings.HasPrefix(dbType, "TIMESTAMP") {
			return v.Format("15:04:05.999999")
		}
		return v.UTC()
	case []byte:
		if dbType == "UUID" && len(v) == 16 {
			id := duckdb.UUID(v)
			return id.String()
		}
		return v
	case duckdb.Interval:
		return interval(v)
	}
	return nested(v)
}

// whole is an int64 where it fits one.
func whole(v *big.Int) any {
	if v.IsInt64() {
		return v.Int64()
	}
	return driverfactory.Decimal(v.String())
}

// decimal writes a number with all the digits of its scale, which duckdb.Decimal leaves out: 12.50 and not 12.5.
func decimal(v *big.Int, scale int) string {
	if scale == 0 {
		return v.String()
	}
	digits := new(big.Int).Abs(v).String()
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	sign := ""
	if v.Sign() < 0 {
		sign = "-"
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

func interval(v duckdb.Interval) string {
	return fmt.Sprintf("%d months %d days %s", v.Months, v.Days, time.Duration(v.Micros)*time.Microsecond)
}

// nested writes lists, structs and maps as JSON, where it can.
func nested(v any) string {
	if text, err := json.Marshal(v); err == nil {
		return string(text)
	}
	return fmt.Sprint(v)
}
