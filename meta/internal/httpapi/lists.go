package httpapi

import (
	"reflect"
	"strings"
	"time"
)

// withLists is out with an empty list or object wherever it would say null
// for one: anyone who reads a reply walks every list without looking first. What
// out points to is shared with the server and is not changed.
func withLists(out any) any {
	v := reflect.ValueOf(out)
	if !v.IsValid() {
		return out
	}
	return withEmptyLists(v, false).Interface()
}

// withEmptyLists is v with empty lists and objects in the place of absent ones, copied
// as far as it differs. What may be left out of a reply stays absent.
func withEmptyLists(v reflect.Value, optional bool) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		return filledPointer(v)
	case reflect.Struct:
		return filledStruct(v)
	case reflect.Slice:
		return filledSlice(v, optional)
	case reflect.Map:
		if v.IsNil() && !optional {
			return reflect.MakeMap(v.Type())
		}
	}
	return v
}

func filledPointer(v reflect.Value) reflect.Value {
	if v.IsNil() || v.Type().Elem() == reflect.TypeFor[time.Time]() {
		return v
	}
	full := reflect.New(v.Type().Elem())
	full.Elem().Set(withEmptyLists(v.Elem(), false))
	return full
}

func filledStruct(v reflect.Value) reflect.Value {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return v
	}
	full := reflect.New(v.Type()).Elem()
	full.Set(v)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			full.Field(i).Set(withEmptyLists(v.Field(i), strings.Contains(f.Tag.Get("json"), ",omit")))
		}
	}
	return full
}

func filledSlice(v reflect.Value, optional bool) reflect.Value {
	switch {
	case v.Type().Elem().Kind() == reflect.Uint8:
		return v // bytes, or JSON as it is
	case v.IsNil() && optional:
		return v
	case v.Type().Elem().Kind() == reflect.String && !v.IsNil():
		return v
	}
	full := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	for i := range v.Len() {
		full.Index(i).Set(withEmptyLists(v.Index(i), false))
	}
	return full
}
