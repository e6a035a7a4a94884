package route

// Plain tells whether the rule does nothing but send requests to its backends
// as they come: it changes nothing, decides by nothing but weights, and limits
// nothing.
func (r *Rule) Plain() bool {
	return r.Filters.none() && r.Timeout == 0 && r.BackendTimeout == 0 && r.Retry == nil && r.Sticky == nil && r.Policy == nil
}

func (f *Filters) none() bool {
	return f.Request.Empty() && f.Response.Empty() && f.Redirect == nil && f.Rewrite == nil && len(f.Mirrors) == 0 && f.CORS == nil
}
