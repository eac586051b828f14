package notice

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/rest"
)

// dingTalk posts to the custom robot of a DingTalk group, which shoutrrr 0.13.2 does not know. Where the robot's security
// setting is a signature, each call carries the time in milliseconds and the base64 of HMAC-SHA256, under the secret, of
// that time, a line feed and the secret.
//
// https://open.dingtalk.com/document/robots/custom-robot-access and .../robots/customize-robot-security-settings
type dingTalk struct {
	client *rest.Client
	token  string
	secret string
}

const dingTalkHost = "https://oapi.dingtalk.com"

func newDingTalk(out way, u *url.URL, secret string, log *slog.Logger) (*dingTalk, error) {
	if u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, &TargetError{Field: "url", Reason: "is not dingtalk:// and the robot's access_token"}
	}
	client, err := newClient(out, dingTalkHost, log)
	if err != nil {
		return nil, err
	}
	return &dingTalk{client: client, token: u.Host, secret: secret}, nil
}

func dingTalkSign(secret string, at time.Time) (timestamp, sign string) {
	timestamp = strconv.FormatInt(at.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "\n" + secret))
	return timestamp, base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (d *dingTalk) send(ctx context.Context, m connectors.Message) error {
	query := url.Values{"access_token": {d.token}}
	if d.secret != "" {
		timestamp, sign := dingTalkSign(d.secret, time.Now())
		query.Set("timestamp", timestamp)
		query.Set("sign", sign)
	}
	type text struct {
		Content string `json:"content"`
	}
	var answer struct {
		Code int64  `json:"errcode"`
		Text string `json:"errmsg"`
	}
	// It has no key against repeats, so it is sent once per try of the outbox.
	err := d.client.Do(ctx, rest.Call{Op: "send to dingtalk", Method: http.MethodPost, Path: "/robot/send", Query: query, Write: true,
		Body: struct {
			Type string `json:"msgtype"`
			Text text   `json:"text"`
		}{"text", text{plain(m)}}}, &answer)
	switch {
	case err != nil:
		return err
	case answer.Code == dingTalkTooFast || answer.Code == dingTalkBusy:
		return &connectors.Error{Kind: connectors.Throttled, Op: "send to dingtalk", Code: strconv.FormatInt(answer.Code, 10)}
	case answer.Code != 0:
		return answerError("send to dingtalk", answer.Code, answer.Text)
	}
	return nil
}

// What DingTalk answers to more than 20 messages of a robot in a minute, and when it is busy.
const (
	dingTalkTooFast = 130101
	dingTalkBusy    = -1
)
