package databricks

// The structs of the TCLIService that the driver sends and reads, with the ids of their fields; those above 1280 are
// Databricks' own. What the driver never looks at is left out.

type handleID struct {
	GUID   []byte `thrift:"1"`
	Secret []byte `thrift:"2"`
}

type sessionHandle struct {
	ID handleID `thrift:"1"`
}

type operationHandle struct {
	ID           handleID `thrift:"1"`
	Type         int32    `thrift:"2"` // 0: EXECUTE_STATEMENT
	HasResultSet bool     `thrift:"3"`
}

// The values of status.Code.
const (
	statusSuccess       = 0
	statusError         = 3
	statusInvalidHandle = 4
)

type status struct {
	Code           int32  `thrift:"1"`
	SQLState       string `thrift:"3,omitempty"`
	ErrorCode      int32  `thrift:"4,omitempty"`
	ErrorMessage   string `thrift:"5,omitempty"`
	DisplayMessage string `thrift:"6,omitempty"`
}

// openSessionReq has an initial namespace too, which is not looked at: plain names are the sandbox's tables in any.
type openSessionReq struct {
	Configuration map[string]string `thrift:"4"`
}

// protocolV8 is the version that the driver asks for. It has direct results, paging and parameters.
const protocolV8 = 42248

type openSessionResp struct {
	Status        status            `thrift:"1"`
	Protocol      int32             `thrift:"2"`
	Session       *sessionHandle    `thrift:"3"`
	Configuration map[string]string `thrift:"4"`
}

type closeSessionReq struct {
	Session sessionHandle `thrift:"1"`
}

type executeStatementReq struct {
	Session       sessionHandle     `thrift:"1"`
	Statement     string            `thrift:"2"`
	QueryTimeout  int64             `thrift:"5"` // seconds
	DirectResults *getDirectResults `thrift:"1281"`
	Parameters    []parameter       `thrift:"1288"`
}

type getDirectResults struct {
	MaxRows int64 `thrift:"1"`
}

type parameter struct {
	Name  string          `thrift:"2"`
	Type  string          `thrift:"3"`
	Value *parameterValue `thrift:"4"` // nil: NULL
}

type parameterValue struct {
	String string `thrift:"1"`
}

type executeStatementResp struct {
	Status        status           `thrift:"1"`
	Operation     *operationHandle `thrift:"2"`
	DirectResults *directResults   `thrift:"1281"`
}

type directResults struct {
	Status   operationStatusResp `thrift:"1"`
	Metadata *metadataResp       `thrift:"2"`
	Results  *fetchResultsResp   `thrift:"3"`
	Closed   *statusResp         `thrift:"4"`
}

// operationReq is the request of GetOperationStatus, GetResultSetMetadata, CancelOperation and CloseOperation.
type operationReq struct {
	Operation operationHandle `thrift:"1"`
}

// The values of operationStatusResp.State.
const (
	stateRunning  = 1
	stateFinished = 2
	stateCanceled = 3
	stateError    = 5
	stateTimedOut = 8
)

type operationStatusResp struct {
	Status          status `thrift:"1"`
	State           int32  `thrift:"2"`
	SQLState        string `thrift:"3,omitempty"`
	ErrorCode       int32  `thrift:"4,omitempty"`
	ErrorMessage    string `thrift:"5,omitempty"`
	HasResultSet    bool   `thrift:"9"`
	NumModifiedRows int64  `thrift:"11,omitempty"`
	DisplayMessage  string `thrift:"1281,omitempty"`
}

// columnFormat is the value of metadataResp.Format for results in columns.
const columnFormat = 1

type metadataResp struct {
	Status  status       `thrift:"1"`
	Schema  *tableSchema `thrift:"2"`
	Format  int32        `thrift:"1281"`
	LZ4     bool         `thrift:"1282"`
	Staging bool         `thrift:"1287"`
}

type tableSchema struct {
	Columns []columnDesc `thrift:"1"`
}

type columnDesc struct {
	Name     string   `thrift:"1"`
	Type     typeDesc `thrift:"2"`
	Position int32    `thrift:"3"` // from 1
}

type typeDesc struct {
	Types []typeEntry `thrift:"1"`
}

type typeEntry struct {
	Primitive primitiveEntry `thrift:"1"`
}

type primitiveEntry struct {
	Type       int32           `thrift:"1"`
	Qualifiers *typeQualifiers `thrift:"2"`
}

type typeQualifiers struct {
	Qualifiers map[string]qualifier `thrift:"1"`
}

type qualifier struct {
	I32 int32 `thrift:"1"`
}

type fetchResultsReq struct {
	Operation   operationHandle `thrift:"1"`
	Orientation int32           `thrift:"2"` // 0: FETCH_NEXT, the only one there is
	MaxRows     int64           `thrift:"3"`
}

type fetchResultsResp struct {
	Status  status  `thrift:"1"`
	HasMore bool    `thrift:"2"`
	Results *rowSet `thrift:"3"`
}

type rowSet struct {
	StartRowOffset int64      `thrift:"1"`
	Rows           []struct{} `thrift:"2"` // always empty: rows travel in columns
	Columns        []column   `thrift:"3"` // never nil, or the driver knows no format
}

// column holds one of its fields. Bit i%8 of byte i/8 of its nulls says that value i is NULL.
type column struct {
	Bools   *boolColumn   `thrift:"1"`
	Bytes   *byteColumn   `thrift:"2"`
	Int16s  *int16Column  `thrift:"3"`
	Int32s  *int32Column  `thrift:"4"`
	Int64s  *int64Column  `thrift:"5"`
	Doubles *doubleColumn `thrift:"6"`
	Strings *stringColumn `thrift:"7"`
	Binary  *binaryColumn `thrift:"8"`
}

type boolColumn struct {
	Values []bool `thrift:"1"`
	Nulls  []byte `thrift:"2"`
}

type byteColumn struct {
	Values []int8 `thrift:"1"`
	Nulls  []byte `thrift:"2"`
}

type int16Column struct {
	Values []int16 `thrift:"1"`
	Nulls  []byte  `thrift:"2"`
}

type int32Column struct {
	Values []int32 `thrift:"1"`
	Nulls  []byte  `thrift:"2"`
}

type int64Column struct {
	Values []int64 `thrift:"1"`
	Nulls  []byte  `thrift:"2"`
}

type doubleColumn struct {
	Values []float64 `thrift:"1"`
	Nulls  []byte    `thrift:"2"`
}

type stringColumn struct {
	Values []string `thrift:"1"`
	Nulls  []byte   `thrift:"2"`
}

type binaryColumn struct {
	Values [][]byte `thrift:"1"`
	Nulls  []byte   `thrift:"2"`
}

// statusResp is the answer of CloseSession, CancelOperation and CloseOperation.
type statusResp struct {
	Status status `thrift:"1"`
}
