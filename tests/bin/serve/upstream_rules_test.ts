import { describe, expect, test } from "bun:test";
import { readUpstream, routeOf } from "../../../bin/serve/upstream.ts";

const GRAPH = "https://graph.microsoft.com";

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
    expect(route("/api.contoso.com/a%2Fb/c%20d//e/...")).toMatchObject({ target: "/a%2Fb/c%20d//e/...?a=1" });
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
  ])("answers %d: %s %s", (statusCode, path, method) => {
    expect(route(path, method)).toMatchObject({ statusCode });
  });
});
