// latchkey sign with a fake broker.
import { describe, expect, test } from "bun:test";
import { readJwt } from "../../../lib/encoding.ts";
import { CLIENT_ID, useStage } from "../../fixture.ts";
import { latchkeyOf } from "../run_latchkey.ts";

const stage = useStage({ broker: {} });
const latchkey = latchkeyOf(stage, "--client-id", CLIENT_ID);

describe("latchkey sign", () => {
  test("prints a token that is bound to the request", async () => {
    const { code, stdout } = await latchkey("sign --url https://api.contoso.com/orders?x=1 --method PUT --nonce n");
    expect(code).toBe(0);
    const bound = { httpMethod: "PUT", uriHost: "api.contoso.com", uriPath: "/orders" };
    expect((await stage.requestOf("generateSignedHttpRequest")).popParams).toMatchObject(bound);
    expect(readJwt(stdout.trim())).toMatchObject({ m: "PUT", u: "api.contoso.com", p: "/orders", nonce: "n" });
    expect((await latchkey("sign --url https://a --format header")).stdout).toMatch(/^Authorization: pop /);
  });

  test("takes the URL from the command line only: a cookie's is not that of a signed request", async () => {
    const env = { LATCHKEY_URL: "https://api.contoso.com/" };
    expect(await latchkey("sign", { env })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--url is missing"),
    });
    expect((await latchkey("cookie", { env })).code).toBe(0);
    expect((await stage.requestOf("acquirePrtSsoCookie")).ssoUrl).toBe("https://login.microsoftonline.com/");
  });

  test("says that himmelblau cannot, and that there is no broker", async () => {
    expect((await latchkey("sign --url https://a --broker never")).code).toBe(5);
    await stage.behave({ sender: "himmelblau-2.0" });
    const hint = expect.stringContaining("hint: Go without it");
    expect(await latchkey("sign --url https://a")).toMatchObject({ code: 1, stderr: hint });
  });
});
