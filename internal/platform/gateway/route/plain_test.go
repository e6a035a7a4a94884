package route

import (
	"reflect"
	"testing"
	"time"
)

// Whoever gives rules something new to do must say here that such a rule is not
// plain, or its requests may be sent past it.
func TestARuleThatDoesAnythingIsNotPlain(t *testing.T) {
	ignored := map[string]bool{"Host": true, "Matches": true, "Backends": true}
	if !(&Rule{Host: "a", Matches: []Match{{}}, Backends: []Backend{{Weight: 1}}}).Plain() {
		t.Error("a rule that only sends requests on is not plain")
	}
	for i := range reflect.TypeFor[Rule]().NumField() {
		name := reflect.TypeFor[Rule]().Field(i).Name
		if ignored[name] || name == "Filters" {
			continue
		}
		var r Rule
		set(t, reflect.ValueOf(&r).Elem().Field(i))
		if r.Plain() {
			t.Errorf("a rule with %s is plain", name)
		}
	}
	for i := range reflect.TypeFor[Filters]().NumField() {
		var r Rule
		set(t, reflect.ValueOf(&r.Filters).Elem().Field(i))
		if r.Plain() {
			t.Errorf("a rule with Filters.%s is plain", reflect.TypeFor[Filters]().Field(i).Name)
		}
	}
}

// set gives a field any value but its zero.
func set(t *testing.T, v reflect.Value) {
	t.Helper()
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(time.Second))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.String:
		v.SetString("a")
	case v.Kind() == reflect.Int:
		v.SetInt(1)
	case v.Type() == reflect.TypeFor[HeaderEdit]():
		v.Set(reflect.ValueOf(HeaderEdit{Remove: []string{"A"}}))
	default:
		t.Fatalf("what is a %s?", v.Type())
	}
}
