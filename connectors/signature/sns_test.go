package signature_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"testing"

	"github.com/truestock/truestock/connectors"
	"github.com/truestock/truestock/connectors/signature"
)

// The signatures were made by openssl, from texts that were written by hand after AWS's documentation.
func TestSNS(t *testing.T) {
	text, err := os.ReadFile("testdata/sns.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := certificate.PublicKey.(*rsa.PublicKey)
	notification := map[string]string{"Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:aws:sns:us-east-1:123456789012:topic", "Subject": "hello",
		"Message": "{\"a\":1}\nwith a line", "Timestamp": "2026-11-26T06:00:00.000Z", "UnsubscribeURL": "https://x"}
	confirmation := map[string]string{"Type": "SubscriptionConfirmation", "MessageId": "m-2", "TopicArn": "arn:aws:sns:us-east-1:123456789012:topic", "Token": "tok",
		"Message": "You have chosen to subscribe", "Timestamp": "2026-11-26T06:00:00.000Z", "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"}
	for _, row := range []struct {
		fields     map[string]string
		one, other string
	}{
		{notification, "mVdinpEfxkpVd82kxsKnf3MThIVToeJC4UDjFjXK3MyCckw5dXg7J4boN+/qvdqMctPfYLn/E+3gIrm55RoHv4FiEaesSY90IQfKpYTFwdh6kr1OqBQY52bTWYGV/KKE0R7ths8id68n19KEwfPD9+aV41ZjAAK9uLQEcKMivooRUJGA/pWa8QuHSXq7Vth5esBC3mWPTHNTwh1ukJS7fAmOJKHL1u4CnXIcN+qp4NyFIcDXYGBKFpiQwCTzOM4Gfj3G+2lX+8TA7Zx1DZq0qWxboaQAi6YqA8gQNytX5XTcpd3AglMWCvO7iaCVj64CGSZXdbc9EgONzd0Wu7S/7w==",
			"DeFN/SDR1ULuxwptJkGF1LOZS1aB1Guz4dg3BqT4+8lLGF9Ih4CIHMVnLUnI0PCGHEpseRsso5sXSPavxusOEzU+5suDsuIr4Ivu5IF7tabSKGWt7IVFKNPILCiM7Jj/8PfJXNcrn0ArsJ1z3xDx6UFq/XTFgULcDmcRdUZM9pZrvT6HI756SICphgQR66hnU3/C5zW0OzpINY9CJLNPK13zvCsAFOvguNUz2OTW/EwF6yn4f11InDBtkONM/rBgfRIqLRYdlYCW2Qp1znpFobhNrdRQ0lWGuwK88lSToWIKn/x2eme8HKqMxgV7cZGMPAdCVZIz82nX7b476mA8qQ=="},
		{confirmation, "aPLovLbtVsk0WJc6YZUQ40ABeu92vCT6KibOwO5IJXzIrUsOzBxzgo5yqBtjNiMDZKN6/jBljzmLVAqDsYOA1L5y928Sw2EwrW2DC8zcF2TK/GPeyYj/kb+m30abKtRRIiyZqikdFwPSEtu6DZ1IrqFLq2OlaKNp7h79wcjuocMBvZagnCtSVrfnM7sIgFNt8EN+M3WosSCfyaDxkvByVaMQG5yvcaOPuenDAKiLlBC9kJ54gE0eiPVOnJeBP3qDvavmGoJev18VZQCudOHFQfBTdieETYm/kk4NJ/EtBuH8V877c6epHyVd6Is51XVbT00bPCTzSeZBUmDsZi6PyQ==",
			"gtxdvZxyfv5QpdjeTUHR94pgi/GsBNcaEZXrvUYjTiq3cKo7kcuJMgeNl+0/58ntJ7SgBZ7ru/AsMxFlLrxTr7EgCaMqtDnlJeMMgdpWnSry80F3NyVvb61DgNebY6XmCwCyrplRmo9EZakytTMZJN18NVqMopQrSsgLSv3YFu+VPwena/pQ6hbNUjGvNE2ZI+CzVbmgXXrOfYtD/WKg5whiFozOx+3BBFmSuTV6QfPaWaz88Czkeie1GU8TZKsv/TAtucvTZ3AMAxFwiycCi/tR2Jneu0R7aAXCTOk+aXO8SHSoQebYOa1PD080Io3xv5Rf+L/trmWGMy+5XL+gMA=="},
	} {
		if err := signature.SNS(key, "1", row.fields, row.one); err != nil {
			t.Errorf("version 1 of %s: %v", row.fields["Type"], err)
		}
		if err := signature.SNS(key, "2", row.fields, row.other); err != nil {
			t.Errorf("version 2 of %s: %v", row.fields["Type"], err)
		}
		for version, given := range map[string]string{"1": row.other, "2": row.one, "3": row.other, "": ""} {
			if err := signature.SNS(key, version, row.fields, given); !errors.Is(err, connectors.ErrSignature) {
				t.Errorf("version %q: %v", version, err)
			}
		}
		if err := signature.SNS(key, "2", row.fields, "no base64!"); !errors.Is(err, connectors.ErrSignature) {
			t.Errorf("no base64: %v", err)
		}
		for _, name := range []string{"Message", "MessageId", "Timestamp", "TopicArn", "Subject", "Token", "SubscribeURL"} {
			changed := maps.Clone(row.fields)
			if _, there := changed[name]; !there {
				continue
			}
			changed[name] += "x"
			if err := signature.SNS(key, "2", changed, row.other); !errors.Is(err, connectors.ErrSignature) {
				t.Errorf("with another %s: %v", name, err)
			}
		}
	}
}
