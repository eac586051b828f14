package declared_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/connectortest"
	"github.com/truestock/truestock/connectors/declared"
	"github.com/truestock/truestock/stock"
)

// erp is what the two pretend systems have in common: stock by article with the instant of its last change, and orders.
type erp struct {
	t    *testing.T
	file *declared.File

	mu      sync.Mutex
	stock   map[string]*held
	orders  map[string]*ordered
	changes int
	// inHand are requests that are still answered with a code in the place of what they ask for.
	code, codeLeft int
	calls          map[string]int
	// tokens that are taken, with the instant of their end, and how often one was made.
	tokens  map[string]time.Time
	renewed int
	// late is set where a pushed order is not found before the ERP takes it over.
	late bool
}

type held struct {
	quantity int
	changed  time.Time
}

type ordered struct {
	number int
	lines  []*line
}

type line struct {
	id, sku        string
	quantity, sent int
	cancelled      bool
}

func newERP(t *testing.T, f *declared.File) *erp {
	now := time.Now()
	return &erp{t: t, file: f, orders: map[string]*ordered{}, calls: map[string]int{}, tokens: map[string]time.Time{}, stock: map[string]*held{
		// Changed long ago and just now: one window does not show both.
		"TEA": {40, now.Add(-50 * 24 * time.Hour)}, "CUP": {30, now.Add(-9 * 24 * time.Hour)}, "POT": {20, now.Add(-time.Minute)},
	}}
}

var beijing = time.FixedZone("+08:00", 8*3600)

// RoundTrip implements http.RoundTripper.
func (e *erp) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if err := req.ParseForm(); err != nil {
		return nil, err
	}
	if req.Method != http.MethodPost || !strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		e.t.Errorf("%s %s of %s", req.Method, req.URL, req.Header.Get("Content-Type"))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls[req.URL.Path]++
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	var body any
	if e.file.Name == "jushuitan" {
		body = e.jushuitan(req.URL.Path, req.PostForm)
	} else {
		body = e.wangdian(req.URL.Path, req.PostForm)
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// exactly reports the names that are missing or too many.
func exactly[T any](got map[string]T, names ...string) string {
	for name := range got {
		if !slices.Contains(names, name) && !slices.Contains(names, name+"?") {
			return "unknown " + name
		}
	}
	for _, name := range names {
		if _, ok := got[name]; !ok && !strings.HasSuffix(name, "?") {
			return "missing " + name
		}
	}
	return ""
}

// window reads two times of Beijing, at most so far apart.
func window(from, to string, most time.Duration) (a, b time.Time, ok bool) {
	a, err := time.ParseInLocation(time.DateTime, from, beijing)
	b, err2 := time.ParseInLocation(time.DateTime, to, beijing)
	return a, b, err == nil && err2 == nil && !b.Before(a) && b.Sub(a) <= most
}

// changedIn are the articles that last changed in a window, both ends inclusive, by name.
func (e *erp) changedIn(a, b time.Time) []string {
	var out []string
	for sku, h := range e.stock {
		if at := h.changed.Truncate(time.Second); !at.Before(a) && !at.After(b) {
			out = append(out, sku)
		}
	}
	slices.Sort(out)
	return out
}

// page cuts a page out of rows; number counts from 0.
func page[T any](rows []T, number, size int) ([]T, bool) {
	from := min(number*size, len(rows))
	to := min(from+size, len(rows))
	return rows[from:to], to < len(rows)
}

func (e *erp) ship(key string) stock.Quantity {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, l := range e.orders[key].lines {
		if !l.cancelled {
			n += l.quantity - l.sent
			e.stock[l.sku].quantity -= l.quantity - l.sent
			e.stock[l.sku].changed = time.Now()
			l.sent = l.quantity
		}
	}
	return stock.Quantity(n)
}

// open opens a connection to the pretend system.
func (e *erp) open(env connectors.Env, settings connectors.Settings) (connectors.SystemOfRecord, error) {
	if env.Transport == nil {
		env.Transport = e
	}
	c, err := e.file.Open(env, connectors.SystemOfRecordRole, settings)
	if err != nil {
		return nil, err
	}
	return c.(connectors.SystemOfRecord), nil
}

func (e *erp) server(settings connectors.Settings, secrets ...string) connectortest.Server {
	return connectortest.Server{
		Transport: e, Secrets: secrets,
		Open:    func(env connectors.Env) (connectors.Connection, error) { return e.open(env, settings) },
		Writes:  func(r *http.Request, _ []byte) bool { return declared.Writes(r.Context()) },
		Changes: func() int { e.mu.Lock(); defer e.mu.Unlock(); return e.changes },
		SKUs:    []string{"TEA", "CUP", "POT"},
		Level: func(sku string) stock.Quantity {
			e.mu.Lock()
			defer e.mu.Unlock()
			return stock.Quantity(e.stock[sku].quantity)
		},
		Receive: func(sku string, q stock.Quantity) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.stock[sku].quantity += int(q)
			e.stock[sku].changed = time.Now()
		},
		OrderCount: func() int { e.mu.Lock(); defer e.mu.Unlock(); return len(e.orders) },
		ShipOrder:  e.ship,
	}
}

// busy answers the next n requests with a code.
func (e *erp) busy(code, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.code, e.codeLeft = code, n
}

func since() string { return time.Now().Add(-60 * 24 * time.Hour).Format(time.DateOnly) }

// jushuitan answers as 聚水潭 does, always with status 200.
func (e *erp) jushuitan(path string, form url.Values) any {
	fail := func(code int, msg string) any { return map[string]any{"code": code, "msg": msg} }
	p := map[string]string{}
	for name := range form {
		p[name] = form.Get(name)
	}
	if md5Of(secretJST+joined(p, "", "", true)) != p["sign"] {
		return fail(10, "验证失败！无效签名")
	}
	at, err := strconv.ParseInt(p["timestamp"], 10, 64)
	if d := time.Since(time.Unix(at, 0)); err != nil || d > 15*time.Minute || d < -15*time.Minute {
		return fail(140, "无效的timestamp")
	}
	if e.codeLeft > 0 {
		e.codeLeft--
		return fail(e.code, "as the test wants it")
	}
	switch path {
	case "/openWeb/auth/getInitToken":
		if bad := exactly(p, "app_key", "timestamp", "grant_type", "charset", "code", "sign"); bad != "" || len(p["code"]) != 6 {
			return fail(11, bad)
		}
		return e.newToken()
	case "/openWeb/auth/refreshToken":
		if bad := exactly(p, "app_key", "timestamp", "grant_type", "charset", "refresh_token", "scope", "sign"); bad != "" || p["refresh_token"] != "refresh-of-the-test" {
			return fail(11, bad)
		}
		e.renewed++
		return e.newToken()
	}
	if bad := exactly(p, "app_key", "access_token", "timestamp", "charset", "version", "biz", "sign"); bad != "" {
		return fail(11, bad)
	}
	if until, known := e.tokens[p["access_token"]]; !known || time.Now().After(until) {
		return fail(100, "验证失败！无效的access_token或access_token已过期")
	}
	return e.jushuitanBusiness(path, []byte(p["biz"]), fail)
}

func (e *erp) newToken() any {
	token := fmt.Sprintf("access-token-%d", len(e.tokens))
	e.tokens[token] = time.Now().Add(time.Hour)
	return map[string]any{"code": 0, "msg": "执行成功", "data": map[string]any{"access_token": token, "refresh_token": "refresh-of-the-test", "expires_in": 3600, "scope": "all"}}
}

func (e *erp) jushuitanBusiness(path string, biz []byte, fail func(int, string) any) any {
	ok := func(data any) any { return map[string]any{"code": 0, "msg": "执行成功", "data": data} }
	if path == "/open/jushuitan/orders/upload" {
		return e.jushuitanUpload(biz, fail, ok)
	}
	var q map[string]any
	if err := json.Unmarshal(biz, &q); err != nil {
		return fail(11, "biz")
	}
	text := func(name string) string { s, _ := q[name].(string); return s }
	n := func(name string) int { f, _ := q[name].(float64); return int(f) }
	switch path {
	case "/open/inventory/query", "/open/sku/query":
		most := map[string]int{"/open/inventory/query": 100, "/open/sku/query": 50}[path]
		a, b, fits := window(text("modified_begin"), text("modified_end"), 7*24*time.Hour)
		if bad := exactly(q, "page_index", "page_size", "modified_begin", "modified_end", "wms_co_id?"); bad != "" || !fits || n("page_size") > most || n("page_index") < 1 {
			return fail(11, "时间间隔不能超过七天 "+bad)
		}
		rows, more := page(e.changedIn(a, b), n("page_index")-1, n("page_size"))
		out := []any{}
		for _, sku := range rows {
			if path == "/open/sku/query" {
				out = append(out, map[string]any{"sku_id": sku, "name": "名 " + sku, "i_id": sku})
			} else {
				out = append(out, map[string]any{"sku_id": sku, "qty": e.stock[sku].quantity, "order_lock": 1, "virtual_qty": 0, "modified": e.stock[sku].changed.In(beijing).Format(time.DateTime)})
			}
		}
		name := map[string]string{"/open/inventory/query": "inventorys", "/open/sku/query": "datas"}[path]
		return ok(map[string]any{"page_index": n("page_index"), "has_next": more, name: out})
	case "/open/orders/single/query":
		if bad := exactly(q, "shop_id", "so_ids", "page_index", "page_size"); bad != "" || n("shop_id") != 7 {
			return fail(170, "店铺 "+bad)
		}
		orders := []any{}
		key := fmt.Sprint(q["so_ids"].([]any)[0])
		if o := e.orders[key]; o != nil {
			orders = append(orders, map[string]any{"o_id": o.number, "so_id": key, "shop_id": 7, "status": o.status(), "items": o.items(key)})
		}
		return ok(map[string]any{"orders": orders, "has_next": false})
	case "/open/orders/out/simple/query":
		if bad := exactly(q, "shop_id", "so_ids", "status", "page_index", "page_size"); bad != "" {
			return fail(11, bad)
		}
		key := fmt.Sprint(q["so_ids"].([]any)[0])
		datas := []any{}
		if o := e.orders[key]; o != nil {
			var items []any
			for _, l := range o.lines {
				if l.sent > 0 {
					items = append(items, map[string]any{"ioi_id": 1, "sku_id": l.sku, "qty": l.sent, "outer_oi_id": key + "/" + l.id})
				}
			}
			if items != nil {
				datas = append(datas, map[string]any{"io_id": 900 + o.number, "so_id": key, "status": "Confirmed", "l_id": "SF1", "items": items})
			}
		}
		return ok(map[string]any{"datas": datas, "has_next": false})
	case "/open/jushuitan/orderbyoid/cancel":
		if bad := exactly(q, "o_ids", "cancel_type", "remark"); bad != "" {
			return fail(11, bad)
		}
		for _, o := range e.orders {
			if float64(o.number) == q["o_ids"].([]any)[0] {
				if o.status() != "WaitConfirm" {
					return fail(300, "订单不能取消")
				}
				e.changes++
				for _, l := range o.lines {
					l.cancelled = true
				}
				return ok(map[string]any{})
			}
		}
		return fail(300, "订单不存在")
	}
	return fail(404, path)
}

func (o *ordered) status() string {
	status := "WaitConfirm"
	for _, l := range o.lines {
		switch {
		case l.cancelled:
			return "Cancelled"
		case l.sent > 0:
			status = "Sent"
		}
	}
	return status
}

func (o *ordered) items(key string) []any {
	items := []any{map[string]any{"sku_id": "GIFT", "qty": 1, "outer_oi_id": "", "is_gift": true}}
	for _, l := range o.lines {
		items = append(items, map[string]any{"sku_id": l.sku, "qty": l.quantity, "outer_oi_id": key + "/" + l.id, "is_gift": false, "refund_status": "none"})
	}
	return items
}

func (e *erp) jushuitanUpload(biz []byte, fail func(int, string) any, ok func(any) any) any {
	var orders []map[string]any
	if err := json.Unmarshal(biz, &orders); err != nil || len(orders) != 1 {
		return fail(11, "biz")
	}
	o := orders[0]
	if bad := exactly(o, "shop_id", "so_id", "order_date", "shop_modified", "shop_status", "shop_buyer_id", "receiver_name", "receiver_state", "receiver_city", "receiver_district",
		"receiver_address", "receiver_phone", "pay_amount", "freight", "items", "pay"); bad != "" {
		return fail(11, bad)
	}
	key := o["so_id"].(string)
	made := &ordered{number: 1000 + len(e.orders)}
	for _, i := range o["items"].([]any) {
		item := i.(map[string]any)
		if bad := exactly(item, "sku_id", "shop_sku_id", "name", "qty", "amount", "base_price", "outer_oi_id"); bad != "" {
			return fail(11, bad)
		}
		sku := item["sku_id"].(string)
		if e.stock[sku] == nil {
			return ok(map[string]any{"datas": []any{map[string]any{"so_id": key, "issuccess": false, "msg": "商品不存在 " + sku}}})
		}
		made.lines = append(made.lines, &line{id: strings.TrimPrefix(item["outer_oi_id"].(string), key+"/"), sku: sku, quantity: int(item["qty"].(float64))})
	}
	e.changes++
	if known := e.orders[key]; known != nil { // an update
		made.number = known.number
	}
	e.orders[key] = made
	return ok(map[string]any{"datas": []any{map[string]any{"so_id": key, "o_id": made.number, "issuccess": true, "msg": ""}}})
}

// wangdian answers as 旺店通 does, always with status 200.
func (e *erp) wangdian(path string, form url.Values) any {
	fail := func(code int, msg string) any { return map[string]any{"code": code, "message": msg} }
	p := map[string]string{}
	for name := range form {
		p[name] = form.Get(name)
	}
	if md5Of(joinedWithLengths(p)+secretWDT) != p["sign"] {
		return fail(1001, "sign错误")
	}
	at, err := strconv.ParseInt(p["timestamp"], 10, 64)
	if d := time.Since(time.Unix(at, 0)); err != nil || d > 5*time.Minute || d < -5*time.Minute {
		return fail(1002, "timestamp")
	}
	if e.codeLeft > 0 {
		e.codeLeft--
		return fail(e.code, "服务器忙")
	}
	number, _ := strconv.Atoi(p["page_no"])
	size, _ := strconv.Atoi(p["page_size"])
	bad := func(names ...string) string {
		return exactly(p, append(names, "sid", "appkey", "timestamp", "sign")...)
	}
	switch path {
	case "/openapi2/warehouse_query.php":
		if b := bad("page_no", "page_size"); b != "" {
			return fail(1003, b)
		}
		return map[string]any{"code": 0, "message": "ok", "warehouses": []any{map[string]any{"warehouse_no": "W1", "name": "主仓"}}}
	case "/openapi2/stock_query.php", "/openapi2/goods_query.php":
		a, b, fits := window(p["start_time"], p["end_time"], 30*24*time.Hour)
		if b := bad("page_no", "page_size", "start_time", "end_time"); b != "" || !fits || size > 100 {
			return fail(1003, "时间跨度 "+b)
		}
		rows, _ := page(e.changedIn(a, b), number, size)
		out := []any{}
		for _, sku := range rows {
			if path == "/openapi2/goods_query.php" {
				out = append(out, map[string]any{"goods_no": sku, "goods_name": "名 " + sku, "spec_list": []any{map[string]any{"spec_no": sku, "spec_name": "x", "barcode": nil}}})
			} else {
				out = append(out, map[string]any{"spec_no": sku, "warehouse_no": "W1", "stock_num": fmt.Sprintf("%d.0000", e.stock[sku].quantity), "avaliable_num": "1.0000"})
			}
		}
		name := map[string]string{"/openapi2/stock_query.php": "stocks", "/openapi2/goods_query.php": "goods_list"}[path]
		return map[string]any{"code": 0, "message": "ok", "total_count": len(rows), name: out}
	case "/openapi2/trade_query.php", "/openapi2/stockout_order_query_trade.php":
		if b := bad("src_tid", "page_no", "page_size"); b != "" {
			return fail(1003, b)
		}
		o := e.orders[p["src_tid"]]
		if o == nil || e.late {
			return map[string]any{"code": 0, "message": "ok", "total_count": 0}
		}
		status, goods, sent := "30", []any{}, []any{}
		for _, l := range o.lines {
			if l.cancelled {
				status = "5"
			}
			goods = append(goods, map[string]any{"src_tid": p["src_tid"], "src_oid": p["src_tid"] + "/" + l.id, "spec_no": l.sku, "num": fmt.Sprintf("%d.0000", l.quantity)})
			if l.sent > 0 {
				sent = append(sent, map[string]any{"src_tid": p["src_tid"], "src_oid": p["src_tid"] + "/" + l.id, "spec_no": l.sku, "goods_count": fmt.Sprintf("%d.0000", l.sent)})
			}
		}
		if path == "/openapi2/trade_query.php" {
			return map[string]any{"code": 0, "message": "ok", "trades": []any{map[string]any{"trade_no": fmt.Sprintf("JY%d", o.number), "trade_status": status, "goods_list": goods}}}
		}
		list := []any{map[string]any{"order_no": "CK0", "status": "55", "warehouse_no": "W1", "details_list": goods}}
		if len(sent) > 0 {
			list = []any{map[string]any{"order_no": "CK1", "status": "95", "warehouse_no": "W1", "details_list": sent}}
		}
		return map[string]any{"code": 0, "message": "ok", "stockout_list": list}
	case "/openapi2/trade_push.php":
		if b := bad("shop_no", "switch", "trade_list"); b != "" {
			return fail(1003, b)
		}
		return e.wangdianPush([]byte(p["trade_list"]), fail)
	}
	return fail(1004, path)
}

func (e *erp) wangdianPush(list []byte, fail func(int, string) any) any {
	var trades []map[string]any
	if err := json.Unmarshal(list, &trades); err != nil || len(trades) != 1 {
		return fail(1003, "trade_list")
	}
	tr := trades[0]
	if bad := exactly(tr, "tid", "trade_status", "pay_status", "delivery_term", "trade_time", "pay_time", "buyer_nick", "receiver_name", "receiver_province", "receiver_city",
		"receiver_district", "receiver_address", "receiver_mobile", "post_amount", "cod_amount", "ext_cod_fee", "other_amount", "paid", "order_list"); bad != "" {
		return fail(1003, bad)
	}
	key, cancelled := tr["tid"].(string), tr["trade_status"] == 80.0
	made := &ordered{number: 1 + len(e.orders)}
	for _, i := range tr["order_list"].([]any) {
		item := i.(map[string]any)
		sku := item["spec_no"].(string)
		if e.stock[sku] == nil {
			return fail(2001, "商家编码不存在 "+sku)
		}
		made.lines = append(made.lines, &line{id: strings.TrimPrefix(item["oid"].(string), key+"/"), sku: sku, quantity: int(item["num"].(float64)), cancelled: cancelled})
	}
	e.changes++
	known := e.orders[key]
	e.orders[key] = made
	if known != nil {
		return map[string]any{"code": 0, "message": "ok", "new_count": 0, "chg_count": 1}
	}
	return map[string]any{"code": 0, "message": "ok", "new_count": 1, "chg_count": 0}
}
