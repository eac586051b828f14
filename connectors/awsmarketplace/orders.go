package awsmarketplace

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/go-json-experiment/json"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
	"github.com/truestock/truestock/stock"
)

const (
	// pageSize is the most that AWS gives at once.
	pageSize = 25
	// mostPages ends a list that does not end.
	mostPages = 20_000
)

// getEntitlements asks for a page. The shape of it and of the answer is that of the model of the entitlement service,
// 2017-01-11.
type getEntitlements struct {
	ProductCode string `json:"ProductCode"`
	MaxResults  int    `json:"MaxResults"`
	NextToken   string `json:"NextToken,omitzero"`
}

type gotEntitlements struct {
	Entitlements *[]entitlement `json:"Entitlements"`
	NextToken    string         `json:"NextToken"`
}

type entitlement struct {
	ProductCode          string `json:"ProductCode"`
	Dimension            string `json:"Dimension"`
	CustomerIdentifier   string `json:"CustomerIdentifier"`
	CustomerAWSAccountID string `json:"CustomerAWSAccountId"`
	LicenseArn           string `json:"LicenseArn"`
	Value                *value `json:"Value"`
	// ExpirationDate is in seconds since 1970, with a fraction.
	ExpirationDate *float64 `json:"ExpirationDate"`
}

// value is one of four.
type value struct {
	IntegerValue *int64   `json:"IntegerValue"`
	DoubleValue  *float64 `json:"DoubleValue"`
	BooleanValue *bool    `json:"BooleanValue"`
	StringValue  *string  `json:"StringValue"`
}

// quantity is how many it is; false where it is a text, which counts nothing.
func (e entitlement) quantity() (stock.Quantity, bool, error) {
	v := e.Value
	switch {
	case v == nil:
		return 0, false, errors.New("it has no value")
	case v.StringValue != nil:
		return 0, false, nil
	case v.BooleanValue != nil && *v.BooleanValue:
		return 1, true, nil
	case v.BooleanValue != nil:
		return 0, true, nil
	case v.DoubleValue != nil:
		if d := *v.DoubleValue; d != math.Trunc(d) || d < 0 || d > float64(stock.MaxQuantity) {
			return 0, false, fmt.Errorf("its value is %v: it must be a whole number, and not below 0", d)
		}
		return stock.Quantity(*v.DoubleValue), true, nil
	case v.IntegerValue != nil:
		if n := *v.IntegerValue; n < 0 || stock.Quantity(n) > stock.MaxQuantity {
			return 0, false, fmt.Errorf("its value is %d: it must not be below 0", n)
		}
		return stock.Quantity(*v.IntegerValue), true, nil
	default:
		return 0, false, errors.New("its value is of a kind that is not understood")
	}
}

// over says whether it has ended at the instant.
func (e entitlement) over(at time.Time) bool {
	return e.ExpirationDate != nil && *e.ExpirationDate <= float64(at.Unix())
}

func (e entitlement) buyer() string { return cmp.Or(e.CustomerAWSAccountID, e.CustomerIdentifier) }

// orderID is what the entitlement belongs to.
func (a *seller) orderID(e entitlement) (string, error) {
	if a.byLicense && e.LicenseArn != "" {
		return e.LicenseArn, nil
	}
	if a.byLicense {
		return "", fmt.Errorf("it names no licence; set %s to %s for a product without concurrent agreements", settingOrdersBy, byCustomer)
	}
	return customerOrder(e.ProductCode, e.CustomerIdentifier, e.CustomerAWSAccountID)
}

// customerOrder names all that a buyer has of a product.
func customerOrder(product, identifier, account string) (string, error) {
	buyer := cmp.Or(identifier, account)
	if product == "" || buyer == "" {
		return "", errors.New("it names no buyer, or no product")
	}
	return product + "/" + buyer, nil
}

// Orders implements connectors.Marketplace: a page is all that is sold of one product.
func (a *seller) Orders(ctx context.Context, since time.Time, from connectors.Cursor) (connectors.OrderPage, error) {
	const op = "get the entitlements"
	began, product, err := a.place(op, from)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	code := a.products[product]
	found, err := a.entitlements(ctx, op, code)
	if err != nil {
		return connectors.OrderPage{}, err
	}
	orders, err := a.orders(found, began)
	if err != nil {
		return connectors.OrderPage{}, connectors.Rejectedf(op, "", "product %s: %w", code, err)
	}
	page := connectors.OrderPage{Watermark: began}
	for i, o := range orders {
		orders[i] = a.looks.Found(code, o, began)
	}
	gone := a.looks.Gone(code, began)
	slices.SortFunc(gone, func(x, y connectors.Order) int { return strings.Compare(x.OrderID, y.OrderID) })
	for _, o := range slices.Concat(orders, gone) {
		if o.Version >= since.UnixMilli() {
			page.Orders = append(page.Orders, o)
		}
	}
	if product+1 < len(a.products) {
		page.Next = connectors.Cursor(fmt.Sprint(began.UnixMilli(), " ", product+1))
	}
	return page, nil
}

// place reads a cursor: when the enumeration began, and the ordinal of the product.
func (a *seller) place(op string, from connectors.Cursor) (time.Time, int, error) {
	if from == "" {
		return time.Now().UTC().Truncate(time.Millisecond), 0, nil
	}
	first, second, _ := strings.Cut(string(from), " ")
	millis, err := strconv.ParseInt(first, 10, 64)
	product, bad := strconv.Atoi(second)
	if err != nil || bad != nil || product < 0 || product >= len(a.products) {
		return time.Time{}, 0, connectors.Rejectedf(op, "", "the cursor %.40q is not one of this connector", from)
	}
	return time.UnixMilli(millis).UTC(), product, nil
}

// orders gathers what belongs together; the dimensions of an order may stand on different pages of AWS.
func (a *seller) orders(found []entitlement, began time.Time) ([]connectors.Order, error) {
	byID := make(map[string]*connectors.Order)
	for _, e := range found {
		id, err := a.orderID(e)
		if err != nil {
			return nil, fmt.Errorf("the entitlement to %.60q: %w", e.Dimension, err)
		}
		if e.Dimension == "" || e.ProductCode == "" {
			return nil, fmt.Errorf("order %.100q: an entitlement names no dimension, or no product", id)
		}
		quantity, counts, err := e.quantity()
		if err != nil {
			return nil, fmt.Errorf("order %.100q: the entitlement to %.60q: %w", id, e.Dimension, err)
		}
		if !counts {
			continue
		}
		o := byID[id]
		if o == nil {
			o = &connectors.Order{OrderID: id, Status: connectors.OrderCancelledStatus}
			if e.buyer() != "" {
				o.Buyer = &connectors.Buyer{Ref: e.buyer()}
			}
			byID[id] = o
		}
		if e.over(began) {
			quantity = 0
		} else {
			o.Status = connectors.OrderOpen
		}
		addTo(o, e.ProductCode+"/"+e.Dimension, quantity)
	}
	orders := make([]connectors.Order, 0, len(byID))
	for _, o := range byID {
		slices.SortFunc(o.Lines, func(x, y connectors.ChannelLine) int { return strings.Compare(x.LineID, y.LineID) })
		if err := (connectors.Fact{Kind: connectors.OrderUpserted, Order: o}).Validate(); err != nil {
			return nil, fmt.Errorf("order %.100q: %w", o.OrderID, err)
		}
		orders = append(orders, *o)
	}
	slices.SortFunc(orders, func(x, y connectors.Order) int { return strings.Compare(x.OrderID, y.OrderID) })
	return orders, nil
}

// addTo adds to the line of a dimension: a buyer may have it by more than one contract.
func addTo(o *connectors.Order, item string, quantity stock.Quantity) {
	for i := range o.Lines {
		if o.Lines[i].LineID == item {
			o.Lines[i].Quantity += quantity
			return
		}
	}
	o.Lines = append(o.Lines, connectors.ChannelLine{LineID: item, Ref: connectors.Ref{Item: item}, Quantity: quantity})
}

// entitlements are all pages of a product. An empty page may have a next one, as AWS's documents say.
func (a *seller) entitlements(ctx context.Context, op, code string) ([]entitlement, error) {
	var all []entitlement
	ask := getEntitlements{ProductCode: code, MaxResults: pageSize}
	for range mostPages {
		got, err := a.page(ctx, op, ask)
		if err != nil {
			return nil, err
		}
		for _, e := range *got.Entitlements {
			if e.ProductCode != code {
				return nil, connectors.Rejectedf(op, "", "AWS answered about the product %.60q in the place of %s", e.ProductCode, code)
			}
		}
		all = append(all, *got.Entitlements...)
		switch got.NextToken {
		case "":
			return all, nil
		case ask.NextToken:
			return nil, connectors.Rejectedf(op, "", "the next page is this page again; AWS's list does not end")
		}
		ask.NextToken = got.NextToken
	}
	return nil, connectors.Rejectedf(op, "", "the list of product %s has more than %d pages", code, mostPages)
}

// page makes one call, signed as all of AWS are (Signature Version 4).
func (a *seller) page(ctx context.Context, op string, ask getEntitlements) (gotEntitlements, error) {
	var got gotEntitlements
	body, err := json.Marshal(ask, json.Deterministic(true))
	if err != nil {
		return got, connectors.Rejectedf(op, "", "the request cannot be written: %w", err)
	}
	header, err := a.signed(ctx, body)
	if err != nil {
		return got, connectors.Rejectedf(op, "", "the request cannot be signed: %w", err)
	}
	if err := a.client.Do(ctx, rest.Call{Op: op, Method: http.MethodPost, Path: "/", Header: header, Body: body}, &got); err != nil {
		return got, classify(err)
	}
	if got.Entitlements == nil {
		return got, connectors.Rejectedf(op, "", "the answer has no list of entitlements; is %s the address of the Marketplace Entitlement Service?", settingBaseURL)
	}
	return got, nil
}

// signed are the headers of a request with the body.
func (a *seller) signed(ctx context.Context, body []byte) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.address+"/", http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AWSMPEntitlementService.GetEntitlements")
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, a.credentials, r, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		return nil, err
	}
	return r.Header, nil
}
