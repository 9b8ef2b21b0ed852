import { describe, expect, test } from "bun:test";
import { isUnambiguous, readTarget, readUpstream, routeOf } from "../../../../bin/commands/serve/upstream_rules.ts";

const GRAPH = "https://graph.microsoft.com";
/** Returns the words of a table. */
const words = (text: string) => text.trim().split(/\s+/);

describe("readUpstream()", () => {
  test("reads methods, a path and a scope", () => {
    expect(readUpstream(GRAPH)).toEqual({
      origin: GRAPH,
      host: "graph.microsoft.com",
      prefix: "",
      methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
      scope: `${GRAPH}/.default`,
    });
    expect(readUpstream(`GET,HEAD ${GRAPH}/v1.0/me/ User.Read`)).toMatchObject({
      ...{ prefix: "/v1.0/me", methods: ["GET", "HEAD"], scope: "User.Read" },
    });
    expect(readUpstream("https://contoso.vault.azure.net/secrets").scope).toBe("https://vault.azure.net/.default");
    expect(readUpstream("https://dev.azure.com/contoso").scope).toBe("499b84ac-1321-427f-aa17-267ca6975798/.default");
    // A domain's end is compared by whole labels.
    expect(readUpstream("https://evildev.azure.com").scope).toBe("https://evildev.azure.com/.default");
    expect(readUpstream("https://evilvault.azure.net").scope).toBe("https://evilvault.azure.net/.default");
    expect(readUpstream("http://127.0.0.1:8080").host).toBe("127.0.0.1:8080");
  });

  test.each([
    "",
    "GET",
    "graph.microsoft.com",
    "http://graph.microsoft.com",
    "ftp://graph.microsoft.com",
    `get ${GRAPH}`,
    `GET,TRACE ${GRAPH}`,
    `GET, ${GRAPH}`,
    `CONNECT ${GRAPH}`,
    `${GRAPH}/a/../b`,
    `${GRAPH}/%2e%2e/b`,
    `${GRAPH}\\b`,
    `${GRAPH}/a?b`,
    `${GRAPH}/a#b`,
    "https://jane:x@graph.microsoft.com",
    `GET ${GRAPH} a b`,
  ])("refuses %j", (text) => {
    expect(() => readUpstream(text)).toThrow("--upstream takes");
  });
});

describe("routeOf()", () => {
  const upstreams = [`GET,HEAD ${GRAPH}/v1.0/me`, `POST ${GRAPH}/v1.0/me/sendMail`, "https://api.contoso.com"].map(
    readUpstream,
  );
  const route = (path: string, method = "GET") => routeOf({ method, path, query: "?a=1" }, upstreams);

  test("finds the rule that allows method and path", () => {
    expect(route("/graph.microsoft.com/v1.0/me")).toMatchObject({ target: "/v1.0/me?a=1" });
    expect(route("/GRAPH.microsoft.com/v1.0/me/messages")).toMatchObject({ target: "/v1.0/me/messages?a=1" });
    expect(route("/graph.microsoft.com/v1.0/me/sendMail", "POST")).toMatchObject({ upstream: { methods: ["POST"] } });
    expect(route("/api.contoso.com")).toMatchObject({ target: "/?a=1" });
    expect(route("/api.contoso.com/a%2Fb/c%20d//e/v1...x")).toMatchObject({ target: "/a%2Fb/c%20d//e/v1...x?a=1" });
  });

  test.each<[number, string, string?]>([
    [404, "/v1.0/me"],
    [404, "/evil.example/v1.0/me"],
    [404, "/graph.microsoft.com:443/v1.0/me"],
    [404, "/graph.microsoft.com@evil.example/"],
    [404, "//graph.microsoft.com/v1.0/me"],
    [403, "/graph.microsoft.com/v1.0/users"],
    [403, "/graph.microsoft.com/v1.0/mean"],
    [403, "/graph.microsoft.com//v1.0/me"],
    [403, "/graph.microsoft.com/V1.0/me"],
    [403, "/graph.microsoft.com/v1.0/$batch", "POST"],
    [405, "/graph.microsoft.com/v1.0/me", "DELETE"],
    [405, "/graph.microsoft.com/v1.0/me/messages", "POST"],
    [400, "/graph.microsoft.com/v1.0/me/../users"],
    [400, "/graph.microsoft.com/v1.0/me/./x"],
    [400, "/graph.microsoft.com/v1.0/me/.."],
    [400, "/graph.microsoft.com/v1.0/me/%2e%2e/users"],
    [400, "/graph.microsoft.com/v1.0/me/.%2E/users"],
    [400, "/graph.microsoft.com/v1.0/me/..%2fusers"],
    [400, "/graph.microsoft.com/v1.0/me/%252e%252e%252fusers"],
    [400, "/graph.microsoft.com/v1.0/me/%25252e%25252e/users"],
    [400, "/graph.microsoft.com/v1.0/me/..;x=y/users"],
    [400, "/graph.microsoft.com/v1.0/me/..\\users"],
    [400, "/graph.microsoft.com/v1.0/me/%5c..%5cusers"],
    [400, "/graph.microsoft.com/v1.0/me/x#/../users"],
    [400, "/graph.microsoft.com/v1.0/me/%00"],
    [400, "/graph.microsoft.com/v1.0/me/%0d%0aX:y"],
    [400, `/graph.microsoft.com/v1.0/me/%${"25".repeat(20)}2e`],
  ])("answers %d: %s %s", (...[statusCode, path, method]) => { // a third parameter would be Bun's callback
    expect(route(path, method)).toMatchObject({ statusCode });
  });

  test("names the methods that the rules of a path allow", () => {
    expect(route("/graph.microsoft.com/v1.0/me/sendMail", "DELETE")).toMatchObject({ allow: ["GET", "HEAD", "POST"] });
  });
});

// What another server could take for a path that was not checked: .NET and IIS decode %uXXXX, old decoders take overlong UTF-8, best
// fit and NFKC map full-width characters, Windows drops dots and spaces at the end.
describe("isUnambiguous()", () => {
  test.each([
    ...words(`
      /%u002e%u002e/users /%u002e%u002e%u2215users /%c0%ae%c0%ae/users /%e0%80%ae%e0%80%ae/users /..%c0%afusers
      /%ef%bc%8e%ef%bc%8e/users /..%ef%bc%8fusers /x%ef%bc%8f..%ef%bc%8fusers /x%ef%bc%bcusers /..%e2%88%95users
      /x%e2%81%84users /..%20/users /.../users /..../users /.%20./users /%20/users /..%c2%a0/users /%e2%80%a5/users
      /%e2%80%a4%e2%80%a4/users /.%e2%80%8b./users /.%c2%ad./users /..~/users /..;x=y/users /..%3bx/users
      /%25u002e%25u002e/users /%25c0%25ae/users /% /%2 /%zz /100%25 /%ff /%ed%a0%80 /%c2%85 /a%09b /a%23b
    `),
    // NFKC makes an ASCII percent sign of these, and what follows is decoded once more.
    ...words(`
      /%EF%BC%852e%EF%BC%852e/users /%EF%B9%AA2e%EF%B9%AA2e/users
    `),
    // Characters that are drawn as nothing, and are no formatting characters.
    ...words(`
      /.%CD%8F./users /.%EF%B8%8F./users /.%E3%85%A4./users /%F3%A0%84%80../users
    `),
    // The yen and won signs are the backslash of code pages; U+066A is the nearest character to a percent sign.
    ...words(`
      /x%C2%A5..%C2%A5..%C2%A5users /x%E2%82%A9..%E2%82%A9users /x%EF%BF%A5..%EF%BF%A5users
      /x%E2%A7%B9..%E2%A7%B9users /%D9%AA2e%D9%AA2e/users /.%E2%80%A8./users /.%E2%80%A9./users
    `),
    // A stream of the folder itself (NTFS), and a private character that stands for a reserved one on shares.
    ...words(`
      /.::$INDEX_ALLOCATION/users /x%EF%80%A2users
    `),
  ])("refuses %s", (path) => {
    expect(isUnambiguous(path)).toBe(false);
  });

  test.each([
    "",
    ...words(`
    / /v1.0/me/messages /v1.0/me//messages /v1.0/users/jane@contoso.com/photo/$value
    /v1.0/me/drive/root:/Documents/report.docx:/content /v1.0/me/drive/items/01ABC!123/content /secrets/a%20b
    /Customers('ALFKI')/Orders(1,2) /a;b=c/d /caf%C3%A9/%E6%97%A5%E6%9C%AC.txt /%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9.png
    /a%2Fb /.well-known/openid-configuration /a..b/x.
    /Report%20%E2%80%93%20jane%E2%80%99s%20%E2%80%9Cv2%E2%80%9D%20%28a%29%5Bb%5D%20%C2%B150%E2%82%AC.docx
    /%E6%97%A5%E6%9C%AC%E8%AA%9E%E3%83%BB%E8%B3%87%E6%96%99%E3%80%81%EF%BC%92%E3%80%8C%E6%A1%88%E3%80%8D.txt
    /%E2%9C%94%EF%B8%8F%20%E0%A4%B9%E0%A4%BF%E0%A4%A8%E0%A5%8D%E0%A4%A6%E0%A5%80%20%E2%86%92%20%ED%95%9C%EA%B8%80
  `),
  ])("lets %s through", (path) => {
    expect(isUnambiguous(path)).toBe(true);
  });
});

describe("readTarget()", () => {
  test("splits a path and its query as they were sent", () => {
    expect(readTarget("GET", "//host/a%2f?b=/../c?d")).toEqual({
      ...{ method: "GET", path: "//host/a%2f", query: "?b=/../c?d" },
    });
  });

  test.each(["*", "https://graph.microsoft.com/", "graph.microsoft.com:443", "", "/a b", "/a?b#c", "/caf\xe9"])(
    "refuses %j",
    (target) => {
      expect(readTarget("GET", target)).toBeUndefined();
    },
  );
});
