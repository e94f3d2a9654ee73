package tbin_test

import (
	"bytes"
	"testing"

	"github.com/behalf-project/behalf/internal/sandbox/tbin"
	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name string `thrift:"1"`
	N    int32  `thrift:"1281,omitempty"`
}

type everything struct {
	Bool   bool              `thrift:"1"`
	I8     int8              `thrift:"2"`
	I16    int16             `thrift:"3"`
	I32    int32             `thrift:"4"`
	I64    int64             `thrift:"5"`
	Double float64           `thrift:"6"`
	Text   string            `thrift:"7"`
	Binary []byte            `thrift:"8"`
	One    *inner            `thrift:"9"`
	Many   []inner           `thrift:"10"`
	Map    map[string]string `thrift:"11"`
	Longs  []int64           `thrift:"12"`
	Texts  []string          `thrift:"13"`
	Bools  []bool            `thrift:"14"`
	Floats []float64         `thrift:"15"`
	Ints   []int32           `thrift:"16"`
	Deep   map[string]inner  `thrift:"17"`
}

func full() everything {
	return everything{
		Bool: true, I8: -8, I16: -16, I32: 1 << 30, I64: -1 << 60, Double: 2.5, Text: "größer", Binary: []byte{0, 255},
		One: &inner{"one", 1}, Many: []inner{{"a", 0}, {"b", 2}}, Map: map[string]string{"k": "v"},
		Longs: []int64{1, -1}, Texts: []string{"", "x"}, Bools: []bool{true, false}, Floats: []float64{-0.5},
		Ints: []int32{7}, Deep: map[string]inner{"d": {"e", 3}},
	}
}

func TestAStructComesBackAsItWent(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   everything
	}{
		{"every type", full()},
		{"nothing at all", everything{}},
		{"an empty list is not an absent one", everything{Many: []inner{}, Texts: []string{}, Binary: []byte{}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got everything
			if err := tbin.Decode(tbin.Append(nil, tt.in), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.in, got); diff != "" {
				t.Errorf("after encoding and decoding (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBytesOnTheWire(t *testing.T) {
	got := tbin.AppendMessage(nil, tbin.Reply, "M", 7, inner{Name: "x", N: 2})
	want := []byte{
		0x80, 0x01, 0, 2, 0, 0, 0, 1, 'M', 0, 0, 0, 7, // header, name, sequence
		11, 0, 1, 0, 0, 0, 1, 'x', // field 1, string
		8, 5, 1, 0, 0, 0, 2, // field 1281, i32
		0,
	}
	if !bytes.Equal(got, want) {
		t.Errorf("AppendMessage = % x, want % x", got, want)
	}
	m, err := tbin.ReadMessage(got)
	if err != nil || m.Type != tbin.Reply || m.Name != "M" || m.Seq != 7 {
		t.Errorf("ReadMessage = %+v, %v", m, err)
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	var got inner
	type wider struct {
		Name  string `thrift:"1"`
		Extra everything
		More  *everything `thrift:"77"`
	}
	more := full()
	if err := tbin.Decode(tbin.Append(nil, wider{Name: "kept", More: &more}), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "kept" {
		t.Errorf("Name = %q, want %q", got.Name, "kept")
	}
}

func TestBadBytesAreRefused(t *testing.T) {
	deep := bytes.Repeat([]byte{12, 0, 99}, 100)
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"field without a value", []byte{8, 0, 4, 0}},
		{"string longer than the message", []byte{11, 0, 7, 0x7f, 255, 255, 255, 'x'}},
		{"string of negative length", []byte{11, 0, 7, 255, 255, 255, 255, 0}},
		{"list longer than the message", []byte{15, 0, 10, 12, 0x7f, 0, 0, 0}},
		{"field of another type", []byte{11, 0, 4, 0, 0, 0, 0, 0}},
		{"a type that does not exist", []byte{9, 0, 99, 0}},
		{"structs without end", deep},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tbin.Decode(tt.data, new(everything)); err == nil {
				t.Error("Decode succeeded, want an error")
			}
		})
	}
	if _, err := tbin.ReadMessage([]byte("POST / HTTP/1.1")); err == nil {
		t.Error("ReadMessage took text for a message")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(tbin.AppendMessage(nil, tbin.Call, "ExecuteStatement", 1, full()))
	f.Add(tbin.AppendMessage(nil, tbin.Call, "", 0, everything{Many: []inner{}}))
	f.Add([]byte{0x80, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 10, 12, 0x7f, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := tbin.ReadMessage(data)
		if err != nil {
			return
		}
		var v everything
		if tbin.Decode(m.Body, &v) != nil {
			return
		}
		var again everything
		if err := tbin.Decode(tbin.Append(nil, v), &again); err != nil {
			t.Errorf("what was decoded does not decode again: %v", err)
		}
	})
}
