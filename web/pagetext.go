package web

// pageText is everything that the pages say in one language. What the engine says, such as the reason of an incident, is
// shown as it is.
type pageText struct {
	Lang, OtherLang, Other string

	Intro, Running, NotReady, Enter, EnterHow  string
	Document, Live, Ready, Metrics, Webhooks   string
	NeedsToken, Trouble, TroubleText           string
	BadAddress, BadAddressText                 string
	NoListing, NoListingText                   string
	Search, SearchHint, NothingFound, NextPage string

	Overview, Settled, NotSettled                                                                string
	InboxPending, InboxParked, Dirty, Unconfirmed, Oldest, OrdersWaiting, ShipmentsWaiting       string
	Connections, NoConnections, Incidents, NoIncidents, Plans, NoPlans, Decide, Parked, NoParked string

	Name, Connector, Role, State, Failing, Fine, OrdersSeenTo, Since, Kind, Subject, Message, Number string
	Connection, Changes, Reason, More                                                                string

	Listings, Listing, Titled, Should, Published, Confirmed, ConfirmedAt, Why string
	Chain, Writes, NoWrites, At, Quantity, Instead, Outcome                   string

	// Words are the words of the API that the pages show, such as the states of a listing.
	Words map[string]string
}

// Word is a word of the API in this language, or the word itself.
func (t *pageText) Word(word string) string {
	if said, ok := t.Words[word]; ok {
		return said
	}
	return word
}

// pageTexts are in the order of pageLanguages.
var pageTexts = []pageText{{
	Lang: "en", OtherLang: "zh", Other: "中文",

	Intro:    "truestock keeps what marketplaces offer for sale true to what the warehouse really has.",
	Running:  "This server is running and its database answers",
	NotReady: "This server is running, but it cannot work: its database does not answer, or it is about to stop",
	Enter:    "Look inside",
	EnterHow: "Your browser asks for a name and a password: any name will do, and the password is a token of the API. The machine that truestock runs on makes one:",
	Document: "The API, as an OpenAPI document",
	Live:     "Is the process alive?",
	Ready:    "Is it ready for requests?",
	Metrics:  "Metrics for Prometheus",
	Webhooks: "Takes signed webhooks",

	NeedsToken: "This page needs a token", Trouble: "This cannot be shown now",
	TroubleText: "The database does not answer, or the question took too long. Load the page again in a few seconds; the server's log tells more.",
	BadAddress:  "This address is not right", BadAddressText: "Something in it is too long or not well-formed. Begin at the overview.",
	NoListing: "There is no such listing", NoListingText: "No connection shows a listing of this name. Search for a part of its name, its SKU or its title.",
	Search: "Search", SearchHint: "Listing, SKU, GTIN or title", NothingFound: "No listing has this in its name, SKU, GTIN or title.", NextPage: "More listings",

	Overview: "Overview", Settled: "Settled: nothing is left to do, except what waits for a person", NotSettled: "Working: something is still to be done",
	InboxPending: "Events to apply", InboxParked: "Events parked", Dirty: "SKUs to plan", Unconfirmed: "Listings to confirm",
	Oldest: "Oldest of them", OrdersWaiting: "Orders to send", ShipmentsWaiting: "Shipments to send",
	Connections: "Connections", NoConnections: "No connection is configured: nothing is synchronised.",
	Incidents: "Open incidents", NoIncidents: "None.", Plans: "Held plans", NoPlans: "None.",
	Decide: "Look at a plan, then decide:", Parked: "Parked events", NoParked: "None.",

	Name: "Name", Connector: "Connector", Role: "Role", State: "State", Failing: "failing:", Fine: "fine", OrdersSeenTo: "Orders seen to",
	Since: "Since", Kind: "Kind", Subject: "Subject", Message: "Message", Number: "No.",
	Connection: "Connection", Changes: "Changes", Reason: "Reason", More: "There are more:",

	Listings: "Listings", Listing: "Listing", Titled: "Title", Should: "Should show", Published: "Last written", Confirmed: "Read back",
	ConfirmedAt: "Read back at", Why: "why?",
	Chain: "Where the number comes from", Writes: "Last writes", NoWrites: "Nothing was written yet.", At: "At", Quantity: "Quantity",
	Instead: "In place of", Outcome: "Outcome",

	Words: map[string]string{"in_sync": "in sync", "system_of_record": "system of record"},
}, {
	Lang: "zh", OtherLang: "en", Other: "English",

	Intro:    "truestock 让各个销售渠道上显示的可售数量始终与仓库的真实库存一致。",
	Running:  "服务正在运行，数据库应答正常",
	NotReady: "服务正在运行，但无法工作：数据库没有应答，或服务即将停止",
	Enter:    "进入查看",
	EnterHow: "浏览器会询问用户名和密码：用户名任意，密码是 API 令牌。在运行 truestock 的机器上创建令牌：",
	Document: "API 说明（OpenAPI 文档）",
	Live:     "进程是否存活？",
	Ready:    "是否可以接收请求？",
	Metrics:  "Prometheus 指标",
	Webhooks: "接收带签名的 Webhook",

	NeedsToken: "此页面需要令牌", Trouble: "暂时无法显示",
	TroubleText: "数据库没有应答，或查询耗时过长。请过几秒重新加载；服务日志中有详细信息。",
	BadAddress:  "地址不正确", BadAddressText: "其中有内容过长或格式不对。请从总览开始。",
	NoListing: "没有这个商品条目", NoListingText: "没有任何连接展示这个名称的商品条目。请按名称、SKU 或标题的一部分搜索。",
	Search: "搜索", SearchHint: "商品条目、SKU、GTIN 或标题", NothingFound: "没有商品条目的名称、SKU、GTIN 或标题包含这段文字。", NextPage: "更多商品条目",

	Overview: "总览", Settled: "已就绪：除了等待人工处理的事项，没有待办", NotSettled: "处理中：还有事项未完成",
	InboxPending: "待处理事件", InboxParked: "搁置的事件", Dirty: "待计算的 SKU", Unconfirmed: "待确认的商品条目",
	Oldest: "其中最久", OrdersWaiting: "待发送订单", ShipmentsWaiting: "待发送发货",
	Connections: "连接", NoConnections: "没有配置任何连接：不会同步任何内容。",
	Incidents: "未关闭的异常", NoIncidents: "无。", Plans: "被拦截的计划", NoPlans: "无。",
	Decide: "先查看计划，再决定：", Parked: "搁置的事件", NoParked: "无。",

	Name: "名称", Connector: "连接器", Role: "角色", State: "状态", Failing: "出错：", Fine: "正常", OrdersSeenTo: "订单已读至",
	Since: "起始时间", Kind: "类型", Subject: "对象", Message: "说明", Number: "编号",
	Connection: "连接", Changes: "变更数", Reason: "原因", More: "还有更多：",

	Listings: "商品条目", Listing: "商品条目", Titled: "标题", Should: "应展示", Published: "最近写入", Confirmed: "已回读",
	ConfirmedAt: "回读时间", Why: "为什么？",
	Chain: "数量的来源", Writes: "最近的写入", NoWrites: "尚未写入。", At: "时间", Quantity: "数量",
	Instead: "替换", Outcome: "结果",

	Words: map[string]string{
		"in_sync": "一致", "pending": "处理中", "held": "被拦截", "contested": "有争议", "paused": "已暂停", "gone": "已消失", "unmapped": "未映射",
		"system_of_record": "记录系统", "marketplace": "销售渠道",
	},
}}
