// Package signature holds the schemes by which outside systems sign what they send us, and want signed what we send
// them, apart from Standard Webhooks, which has a package of its own. Each scheme is a pure function from a secret and
// what is signed to the signature as text; Secrets compares in constant time, with any of several active secrets. What
// is signed, where the signature stands and how old it may be, the connector knows.
package signature

import (
	"crypto"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // Three vendors sign with it; nothing of ours does.
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // Amazon SNS signs with it unless a topic says otherwise.
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/truestock/truestock/connectors"
)

// Secrets are the active secrets of a connection, so that a secret can be exchanged without losing a delivery.
type Secrets []string

// Parse reads a setting with secrets that are separated by commas or white space.
func Parse(setting string) Secrets {
	return strings.FieldsFunc(setting, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// Match returns the ordinal, from 0, of the secret under which the scheme gives the signature. Without a secret nothing
// matches. The error is connectors.ErrSignature, wrapped with a reason that tells no secret.
func (s Secrets) Match(given string, scheme func(secret string) string) (int, error) {
	switch {
	case len(s) == 0:
		return 0, fmt.Errorf("%w: the connection has no secret, so no delivery can be checked", connectors.ErrSignature)
	case given == "":
		return 0, fmt.Errorf("%w: there is no signature", connectors.ErrSignature)
	}
	for i, secret := range s {
		if subtle.ConstantTimeCompare([]byte(scheme(secret)), []byte(given)) == 1 {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: the signature fits none of the %d secrets", connectors.ErrSignature, len(s))
}

// Plain is the scheme of a system that sends the secret itself, in a header, a parameter or the body.
func Plain(secret string) string { return secret }

// Fresh reports whether what was sent at one instant may arrive at the other. The error is connectors.ErrSignature,
// wrapped.
func Fresh(sent, arrived time.Time, tolerance time.Duration) error {
	switch age := arrived.Sub(sent); {
	case age > tolerance:
		return fmt.Errorf("%w: it was signed %s ago; at most %s is taken", connectors.ErrSignature, age.Round(time.Second), tolerance)
	case age < -tolerance:
		return fmt.Errorf("%w: it is signed for %s from now; at most %s is taken", connectors.ErrSignature, (-age).Round(time.Second), tolerance)
	}
	return nil
}

var errEmptyBody = errors.New("an empty body is not signed")

// Body is base64(HMAC-SHA256(secret, raw body)), as Shopify, WooCommerce, Frappe and ShipHero sign.
//
// https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
func Body(secret string, body []byte) string {
	return base64.StdEncoding.EncodeToString(sum(secret, body))
}

// MatchBody checks a signature of the Body scheme. An empty body is refused, as the vendors' own libraries do.
func (s Secrets) MatchBody(given string, body []byte) (int, error) {
	if len(body) == 0 {
		return 0, fmt.Errorf("%w: %w", connectors.ErrSignature, errEmptyBody)
	}
	return s.Match(given, func(secret string) string { return Body(secret, body) })
}

func sum(secret string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}

func md5Hex(text string) string {
	digest := md5.Sum([]byte(text)) //nolint:gosec // see the import
	return hex.EncodeToString(digest[:])
}

// Alibaba is the token of Alibaba Cloud Marketplace's SPI: the MD5 of all parameters but the token, sorted, joined as in
// a query without escapes, and the seller's key behind them.
//
// https://help.aliyun.com/document_detail/147280.html
func Alibaba(key string, parameters map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if name != "token" {
			text.WriteString(name + "=" + parameters[name] + "&")
		}
	}
	text.WriteString("key=" + key)
	return md5Hex(text.String())
}

// Jushuitan is the sign of 聚水潭's open API: the MD5 of the secret and of every name and value that is not empty, in the
// order of the names, nothing between them.
//
// https://openweb.jushuitan.com/doc?docId=30
func Jushuitan(secret string, parameters map[string]string) string {
	var text strings.Builder
	text.WriteString(secret)
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if name != "sign" && parameters[name] != "" {
			text.WriteString(name + parameters[name])
		}
	}
	return md5Hex(text.String())
}

// Wangdian is the sign of 旺店通's open API: the MD5 of every name and value with their lengths in characters, in the
// order of the names, and of the secret. A length has at least two digits for a name and four for a value.
//
// https://open.wangdian.cn/open/guide?path=guide_signsf
func Wangdian(secret string, parameters map[string]string) string {
	pairs := make([]string, 0, len(parameters))
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if name != "sign" {
			value := parameters[name]
			pairs = append(pairs, fmt.Sprintf("%02d-%s:%04d-%s", utf8.RuneCountInString(name), name, utf8.RuneCountInString(value), value))
		}
	}
	return md5Hex(strings.Join(pairs, ";") + secret)
}

// Tencent is the signature of Tencent Cloud Market: the SHA-256 of the token, the timestamp and the identity of the
// event, sorted as texts. It does not cover the body.
//
// https://cloud.tencent.com/document/product/586/37730
func Tencent(token, timestamp, eventID string) string {
	texts := []string{token, timestamp, eventID}
	slices.Sort(texts)
	digest := sha256.Sum256([]byte(strings.Join(texts, "")))
	return hex.EncodeToString(digest[:])
}

// HuaweiV1 is the authToken of Huawei KooGallery's interfaces of version 1: over all parameters but the token, decoded,
// sorted and joined as in a query, with the key and the timestamp together as the key.
//
// https://support.huaweicloud.com/intl/en-us/accessg-marketplace/en-us_topic_0070649066.html
func HuaweiV1(key string, parameters map[string]string) string {
	pairs := make([]string, 0, len(parameters))
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if name != "authToken" {
			pairs = append(pairs, name+"="+parameters[name])
		}
	}
	return base64.StdEncoding.EncodeToString(sum(key+parameters["timeStamp"], []byte(strings.Join(pairs, "&"))))
}

// HuaweiV2 is the signature of Huawei KooGallery's interfaces of version 2, in small letters; Huawei itself writes it in
// either. The documentation does not say which key it is made with: the access key is what its other interfaces use.
//
// https://support.huaweicloud.com/accessg-marketplace/zh-cn_topic_0070649476.html
func HuaweiV2(accessKey, nonce, timestamp string, body []byte) string {
	canonical := accessKey + nonce + timestamp + hex.EncodeToString(sum(accessKey, body))
	return hex.EncodeToString(sum(accessKey, []byte(canonical)))
}

// HuaweiRequest signs a request to an interface of Huawei Cloud with an access key and its secret, and adds the headers
// X-Sdk-Date and Authorization. The body is not among what is signed here: it must be empty.
//
// https://support.huaweicloud.com/devg-apisign/api-sign-algorithm-005.html
func HuaweiRequest(r *http.Request, accessKey, secret string, at time.Time) {
	date := at.UTC().Format("20060102T150405Z")
	path := r.URL.EscapedPath()
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	const signed = "host;x-sdk-date"
	empty := sha256.Sum256(nil)
	canonical := strings.Join([]string{r.Method, path, query, "host:" + r.URL.Host, "x-sdk-date:" + date, "", signed, hex.EncodeToString(empty[:])}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	sign := hex.EncodeToString(sum(secret, []byte("SDK-HMAC-SHA256\n"+date+"\n"+hex.EncodeToString(digest[:]))))
	r.Header.Set("X-Sdk-Date", date)
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access="+accessKey+", SignedHeaders="+signed+", Signature="+sign)
}

// HuaweiReply is the value of the header Body-Sign that Huawei KooGallery demands of an answer, over the bytes of its
// body.
//
// https://support.huaweicloud.com/intl/en-us/accessg-marketplace/en-us_topic_0070649067.html
func HuaweiReply(key string, body []byte) string {
	return `sign_type="HMAC-SHA256", signature= "` + Body(key, body) + `"`
}

// SNS checks the signature of a message of Amazon SNS: RSA by the certificate, over the names and values of the message's
// fields in their order, each on a line of its own. Version 1 signs by SHA-1, version 2 by SHA-256. Where the certificate may come from,
// the connector knows. The error is connectors.ErrSignature, wrapped.
//
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
func SNS(key *rsa.PublicKey, version string, fields map[string]string, given string) error {
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if fields["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var text strings.Builder
	for _, name := range names {
		if value, there := fields[name]; there {
			text.WriteString(name + "\n" + value + "\n")
		}
	}
	signed, err := base64.StdEncoding.DecodeString(given)
	if err != nil {
		return fmt.Errorf("%w: the signature is not base64", connectors.ErrSignature)
	}
	switch version {
	case "1":
		digest := sha1.Sum([]byte(text.String())) //nolint:gosec // see the import
		err = rsa.VerifyPKCS1v15(key, crypto.SHA1, digest[:], signed)
	case "2":
		digest := sha256.Sum256([]byte(text.String()))
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signed)
	default:
		return fmt.Errorf("%w: the signature is of version %.10q; 1 and 2 are understood", connectors.ErrSignature, version)
	}
	if err != nil {
		return fmt.Errorf("%w: the signature does not fit the message", connectors.ErrSignature)
	}
	return nil
}
