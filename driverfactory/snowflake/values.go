package snowflake

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/behalf-project/behalf/driverfactory"
)

// Numbers of the server's errors that mean something to a session or a credential.
const (
	statementCanceled   = 604
	statementTimedOut   = 630
	privilegeMissing    = 3001
	passwordWrong       = 390100
	sessionGone         = 390111
	sessionTokenExpired = 390112
	masterTokenExpired  = 390114
	keyPairInvalid      = 390144
	tokenInvalid        = 390303
	otherUser           = 390309
	tokenExpired        = 390318
	addressBlocked      = 390420
	patInvalid          = 394400
)

// Classify says what err means.
func (w *Warehouse) Classify(err error) driverfactory.Class {
	se, ok := errors.AsType[*gosnowflake.SnowflakeError](err)
	if !ok {
		if errors.Is(err, driver.ErrBadConn) {
			return driverfactory.SessionLost
		}
		if _, ok := errors.AsType[*url.Error](err); ok {
			return driverfactory.TransportFailed
		}
		if _, ok := errors.AsType[net.Error](err); ok {
			return driverfactory.TransportFailed
		}
		return driverfactory.StatementFailed
	}
	switch se.Number {
	case sessionGone, sessionTokenExpired, masterTokenExpired:
		return driverfactory.SessionLost
	case tokenExpired, tokenInvalid, passwordWrong, keyPairInvalid, patInvalid:
		return driverfactory.AuthExpired
	case privilegeMissing, addressBlocked:
		return driverfactory.AccessDenied
	case statementCanceled, statementTimedOut:
		return driverfactory.Canceled
	case otherUser:
		return driverfactory.Misconfigured
	}
	switch {
	case se.SQLState == "42501":
		return driverfactory.AccessDenied
	case se.SQLState == "57014":
		return driverfactory.Canceled
	case se.Number >= 390000 && se.Number < 400000:
		return driverfactory.Misconfigured // a login with an unknown role, database or account
	case se.Number >= 260000 && se.Number < 263000:
		return driverfactory.TransportFailed // the driver's own numbers for requests that failed
	}
	return driverfactory.StatementFailed
}

// Explain returns the server's own sentence.
func (w *Warehouse) Explain(err error) string {
	se, ok := errors.AsType[*gosnowflake.SnowflakeError](err)
	if !ok {
		return ""
	}
	text := se.Message
	if len(se.MessageArgs) > 0 {
		text = fmt.Sprintf(se.Message, se.MessageArgs...)
	}
	// The driver puts number and state in front of a statement's error, and then wraps it in one like itself.
	for prefix := fmt.Sprintf("%06d (%s): ", se.Number, se.SQLState); strings.HasPrefix(text, prefix); {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// Value converts a value by the name of its type. The same column is text in one result format of the server and a
// number in the other.
func (w *Warehouse) Value(dbType string, scale int64, v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case time.Time:
		if dbType == "TIME" {
			return v.Format("15:04:05.999999999")
		}
		return v.UTC()
	case []byte:
		if dbType == "BINARY" {
			return v
		}
		return w.Value(dbType, scale, string(v))
	case int64:
		if scale > 0 {
			return driverfactory.Decimal(strconv.FormatInt(v, 10))
		}
		return v
	case float64:
		if dbType == "FIXED" {
			return fixed(strconv.FormatFloat(v, 'f', int(max(scale, 0)), 64), scale)
		}
		return v
	case *big.Int:
		return fixed(v.String(), scale)
	case big.Int:
		return fixed(v.String(), scale)
	case *big.Float:
		return fixed(v.Text('f', int(max(scale, 0))), scale)
	case big.Float:
		return fixed(v.Text('f', int(max(scale, 0))), scale)
	case string:
		return fromText(dbType, scale, v)
	}
	return fmt.Sprint(v)
}

func fromText(dbType string, scale int64, v string) any {
	switch dbType {
	case "FIXED":
		return fixed(v, scale)
	case "REAL":
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	case "BOOLEAN":
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	return v
}

// fixed is a whole number where it fits one, and exact in any case.
func fixed(text string, scale int64) any {
	if scale <= 0 && !strings.Contains(text, ".") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	return driverfactory.Decimal(text)
}
