package tbin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
)

// maxDepth bounds how deep structs and containers may nest, so that a hostile body cannot exhaust the stack.
const maxDepth = 32

var errShort = errors.New("thrift: the message ends too early")

// Decode reads a struct from data into v, a pointer to a struct. Fields that v does not name are skipped; a field
// whose type is not the one v names is an error. Decode allocates no more than a small multiple of len(data).
func Decode(data []byte, v any) error {
	d := decoder{data: data}
	d.value(wireStruct, reflect.ValueOf(v).Elem(), 0)
	return d.err
}

// decoder reads data from at on. After the first error it reads zeros.
type decoder struct {
	data []byte
	at   int
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.at = len(d.data)
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.data)-d.at {
		d.fail(errShort)
		return nil
	}
	b := d.data[d.at : d.at+n]
	d.at += n
	return b
}

func (d *decoder) u8() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) i16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) i32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) i64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) bytes() []byte { return d.take(int(d.i32())) }

// count reads the length of a container. Each element takes at least one byte (an empty struct is its stop byte), so a
// length beyond what is left is refused before anything is allocated for it.
func (d *decoder) count() int {
	n := int(d.i32())
	if n < 0 || n > len(d.data)-d.at {
		d.fail(errShort)
		return 0
	}
	return n
}

// value reads a value of Thrift type w into v, which is settable.
func (d *decoder) value(w wire, v reflect.Value, depth int) {
	if depth > maxDepth {
		d.fail(errors.New("thrift: the message nests too deep"))
	}
	if d.err != nil {
		return
	}
	if want := wireOf(v.Type()); w != want {
		d.fail(fmt.Errorf("thrift: a value of type %d stands where type %d is expected", w, want))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(w, p.Elem(), depth)
		v.Set(p)
	case reflect.Bool:
		v.SetBool(d.u8() != 0)
	case reflect.Int8:
		v.SetInt(int64(int8(d.u8())))
	case reflect.Int16:
		v.SetInt(int64(d.i16()))
	case reflect.Int32:
		v.SetInt(int64(d.i32()))
	case reflect.Int64:
		v.SetInt(d.i64())
	case reflect.Float64:
		v.SetFloat(math.Float64frombits(uint64(d.i64())))
	case reflect.String:
		v.SetString(string(d.bytes()))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(append([]byte{}, d.bytes()...))
			return
		}
		d.list(v, depth)
	case reflect.Map:
		d.entries(v, depth)
	case reflect.Struct:
		d.fields(v, depth)
	}
}

func (d *decoder) fields(v reflect.Value, depth int) {
	l := layoutOf(v.Type())
	for d.err == nil {
		w := wire(d.u8())
		if d.err != nil || w == wireStop {
			return
		}
		id := d.i16()
		if i, ok := l.byID[id]; ok {
			d.value(w, v.Field(l.fields[i].index), depth+1)
		} else {
			d.skip(w, depth+1)
		}
	}
}

// list grows as elements arrive instead of trusting the announced length: an element may be large in Go.
func (d *decoder) list(v reflect.Value, depth int) {
	w, n := wire(d.u8()), d.count()
	out := reflect.MakeSlice(v.Type(), 0, min(n, 64))
	for range n {
		el := reflect.New(v.Type().Elem()).Elem()
		d.value(w, el, depth+1)
		if d.err != nil {
			return
		}
		out = reflect.Append(out, el)
	}
	v.Set(out)
}

func (d *decoder) entries(v reflect.Value, depth int) {
	kw, ew, n := wire(d.u8()), wire(d.u8()), d.count()
	out := reflect.MakeMap(v.Type())
	for range n {
		key, el := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		d.value(kw, key, depth+1)
		d.value(ew, el, depth+1)
		if d.err != nil {
			return
		}
		out.SetMapIndex(key, el)
	}
	v.Set(out)
}

// skip reads past a value of type w.
func (d *decoder) skip(w wire, depth int) {
	if depth > maxDepth {
		d.fail(errors.New("thrift: the message nests too deep"))
	}
	if d.err != nil {
		return
	}
	switch w {
	case wireBool, wireI8:
		d.take(1)
	case wireI16:
		d.take(2)
	case wireI32:
		d.take(4)
	case wireI64, wireDouble:
		d.take(8)
	case wireString:
		d.bytes()
	case wireList, wireSet:
		el := wire(d.u8())
		for range d.count() {
			if d.skip(el, depth+1); d.err != nil {
				return
			}
		}
	case wireMap:
		k, el := wire(d.u8()), wire(d.u8())
		for range d.count() {
			d.skip(k, depth+1)
			if d.skip(el, depth+1); d.err != nil {
				return
			}
		}
	case wireStruct:
		for d.err == nil {
			f := wire(d.u8())
			if d.err != nil || f == wireStop {
				return
			}
			d.i16()
			d.skip(f, depth+1)
		}
	default:
		d.fail(fmt.Errorf("thrift: %d is no type", w))
	}
}
