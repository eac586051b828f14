package stock

import (
	"errors"
	"fmt"
)

// Override holds the policy fields that one scope sets; nil leaves a field to the scopes below it.
type Override struct {
	SharePermille          *int64    `json:"share_permille,omitempty"`
	SafetyStock            *Quantity `json:"safety_stock,omitempty"`
	Buffer                 *Quantity `json:"buffer,omitempty"`
	VelocityBufferPermille *int64    `json:"velocity_buffer_permille,omitempty"`
	// OversellPermille of 1000 switches off what a lower scope allows.
	OversellPermille *int64    `json:"oversell_permille,omitempty"`
	Threshold        *Quantity `json:"threshold,omitempty"`
	// LastUnits and PreferredChannel are one setting: the scope that sets either sets both.
	LastUnits        *Quantity     `json:"last_units,omitempty"`
	PreferredChannel *ConnectionID `json:"preferred_channel,omitempty"`
	// Cap of MaxQuantity lifts the cap of a lower scope.
	Cap     *Quantity `json:"cap,omitempty"`
	Minimum *Quantity `json:"minimum,omitempty"`
}

// Validate names the first field that makes no sense on its own; what the fields make together, Resolve checks.
func (o Override) Validate() error {
	if (o.LastUnits == nil) != (o.PreferredChannel == nil) {
		return refuse("last_units", "and preferred_channel are one setting: give both or neither")
	}
	var p Policy
	for _, f := range policyFields {
		f.put(&p, o)
	}
	if o.OversellPermille != nil && *o.OversellPermille < 1000 {
		return refuse("oversell_permille", "is %d: it must be from 1000 to %d", *o.OversellPermille, MaxOversellPermille)
	}
	return p.Validate()
}

// Scope is what a policy field is set for. A higher scope wins, field by field.
type Scope uint8

// The scopes, from the weakest to the strongest.
const (
	ScopeNone    Scope = iota // nobody set the field
	ScopeDefault              // everything
	ScopeChannel              // the listings of one channel
	ScopeSKU                  // the listings of one SKU
	ScopeListing              // one listing
)

var scopeNames = [...]string{"none", "default", "channel", "sku", "listing"}

// String returns the scope's name as the API and the files write it.
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope(%d)", uint8(s))
}

// ParseScope is the inverse of Scope.String.
func ParseScope(name string) (Scope, error) {
	for i, n := range scopeNames {
		if n == name {
			return Scope(i), nil
		}
	}
	return 0, refuse("scope", "is %q: write default, channel, sku or listing", name)
}

// MarshalText writes the name.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *Scope) UnmarshalText(text []byte) (err error) {
	*s, err = ParseScope(string(text))
	return err
}

// Overrides are what the four scopes say about one listing.
type Overrides struct {
	Default, Channel, SKU, Listing Override
}

// Origin tells which scope a field of a resolved policy comes from.
type Origin struct {
	Field string `json:"field"`
	Scope Scope  `json:"scope"`
}

// Resolve makes the policy of one listing: of each field the value of the strongest scope that sets it. Origins lists
// every field in the order of the chain. The error is the field's, as Validate's; where the fields make sense alone and
// not together, it says which scope each of the two comes from.
func (o Overrides) Resolve() (Policy, []Origin, error) {
	layers := []struct {
		scope    Scope
		override Override
	}{{ScopeDefault, o.Default}, {ScopeChannel, o.Channel}, {ScopeSKU, o.SKU}, {ScopeListing, o.Listing}}

	var p Policy
	origins := make([]Origin, len(policyFields))
	for i, f := range policyFields {
		origins[i].Field = f.name
		for _, l := range layers {
			if f.put(&p, l.override) {
				origins[i].Scope = l.scope
			}
		}
	}
	for _, l := range layers {
		if err := l.override.Validate(); err != nil {
			if field, ok := errors.AsType[*FieldError](err); ok {
				return Policy{}, nil, refuse(field.Field, "%s (%s)", field.Reason, l.scope)
			}
			return Policy{}, nil, err
		}
	}
	if p.Cap != nil && p.Minimum > *p.Cap {
		return Policy{}, nil, refuse("minimum", "%d (%s) is above cap %d (%s)", p.Minimum, scopeOf(origins, "minimum"), *p.Cap, scopeOf(origins, "cap"))
	}
	return p, origins, p.Validate()
}

func scopeOf(origins []Origin, field string) Scope {
	for _, o := range origins {
		if o.Field == field {
			return o.Scope
		}
	}
	return ScopeNone
}

// policyField is one field of a policy, under the name that people write. put sets it where an override says it.
type policyField struct {
	name string
	put  func(*Policy, Override) bool
}

// policyFields are all of them, in the order of the chain.
var policyFields = []policyField{
	{"share_permille", func(p *Policy, o Override) bool {
		if o.SharePermille == nil {
			return false
		}
		p.SharePermille = o.SharePermille
		return true
	}},
	{"safety_stock", func(p *Policy, o Override) bool { return put(&p.SafetyStock, o.SafetyStock) }},
	{"buffer", func(p *Policy, o Override) bool { return put(&p.Buffer, o.Buffer) }},
	{"velocity_buffer_permille", func(p *Policy, o Override) bool { return put(&p.VelocityBufferPermille, o.VelocityBufferPermille) }},
	{"oversell_permille", func(p *Policy, o Override) bool { return put(&p.OversellPermille, o.OversellPermille) }},
	{"threshold", func(p *Policy, o Override) bool { return put(&p.Threshold, o.Threshold) }},
	{"last_units", func(p *Policy, o Override) bool { return put(&p.LastUnits, o.LastUnits) }},
	{"preferred_channel", func(p *Policy, o Override) bool { return put(&p.PreferredChannel, o.PreferredChannel) }},
	{"minimum", func(p *Policy, o Override) bool { return put(&p.Minimum, o.Minimum) }},
	{"cap", func(p *Policy, o Override) bool {
		if o.Cap == nil {
			return false
		}
		p.Cap = o.Cap
		return true
	}},
}

func put[T any](to *T, from *T) bool {
	if from == nil {
		return false
	}
	*to = *from
	return true
}

// Over puts an override on top of a weaker one: of each field its own value, else the other's.
func (o Override) Over(weaker Override) Override {
	over(&o.SharePermille, weaker.SharePermille)
	over(&o.SafetyStock, weaker.SafetyStock)
	over(&o.Buffer, weaker.Buffer)
	over(&o.VelocityBufferPermille, weaker.VelocityBufferPermille)
	over(&o.OversellPermille, weaker.OversellPermille)
	over(&o.Threshold, weaker.Threshold)
	if o.LastUnits == nil && o.PreferredChannel == nil {
		o.LastUnits, o.PreferredChannel = weaker.LastUnits, weaker.PreferredChannel
	}
	over(&o.Cap, weaker.Cap)
	over(&o.Minimum, weaker.Minimum)
	return o
}

func over[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}

// OverrideOf says what a whole policy says, as far as it says something.
func OverrideOf(p Policy) Override {
	o := Override{SharePermille: p.SharePermille, Cap: p.Cap}
	set := func(to **Quantity, q Quantity) {
		if q != 0 {
			*to = &q
		}
	}
	set(&o.SafetyStock, p.SafetyStock)
	set(&o.Buffer, p.Buffer)
	set(&o.Threshold, p.Threshold)
	set(&o.Minimum, p.Minimum)
	if p.VelocityBufferPermille != 0 {
		o.VelocityBufferPermille = &p.VelocityBufferPermille
	}
	if p.OversellPermille != 0 {
		o.OversellPermille = &p.OversellPermille
	}
	if p.LastUnits != 0 {
		set(&o.LastUnits, p.LastUnits)
		o.PreferredChannel = &p.PreferredChannel
	}
	return o
}
