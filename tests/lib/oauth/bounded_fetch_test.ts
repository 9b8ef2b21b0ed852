// HTTP's bounds, against servers that do not keep to them.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { LatchkeyError } from "../../../lib/errors.ts";
import { delay } from "../../../lib/async.ts";
import { boundedFetch } from "../../../lib/oauth/bounded_fetch.ts";
import { failure, rejection } from "../../fixture.ts";

describe("boundedFetch()", () => {
  let server: Server, origin: string, asked: string[];

  beforeAll(async () => {
    asked = [];
    server = createServer((request, response) => {
      asked.push(request.url!);
      switch (request.url) {
        case "/silent":
          return;
        case "/slow":
          response.writeHead(200, { "content-type": "application/json" });
          return void response.write("{");
        case "/endless": {
          response.writeHead(200);
          const more = () => {
            while (!response.destroyed && response.write("x".repeat(65536)));
          };
          response.on("drain", more).on("error", () => {});
          return more();
        }
        case "/loop":
          return void response.writeHead(302, { location: "/loop" }).end();
        case "/nothing":
          return void response.writeHead(204).end();
        default:
          return void response.writeHead(404, { "x-header": "value" }).end("not found");
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test("gives the response with its status and headers", async () => {
    const response = await boundedFetch({})(`${origin}/`, {});
    expect(response.status).toBe(404);
    expect(response.headers.get("x-header")).toBe("value");
    expect(await response.text()).toBe("not found");
    expect((await boundedFetch({})(`${origin}/nothing`, {})).status).toBe(204);
  });

  test.each(["/silent", "/slow"])("does not wait for ever for %s", async (path) => {
    const error = await failure(boundedFetch({ timeoutMs: 50 })(origin + path, {}));
    expect(error).toMatchObject({
      code: "timed_out",
      message: `${new URL(origin).host} did not answer within 0.05 seconds`,
    });
  });

  test("does not wait for a fetch that does not listen to its signal", async () => {
    const fetch = () => new Promise<Response>(() => {});
    expect((await failure(boundedFetch({ fetch, timeoutMs: 50 })(origin, {}))).code).toBe("timed_out");
  });

  test("does not read for ever", async () => {
    const error = await failure(boundedFetch({})(`${origin}/endless`, {}));
    expect(error).toMatchObject({
      code: "invalid_response",
      message: expect.stringContaining("more than 1048576 bytes"),
    });
  });

  test("does not go round in circles", async () => {
    asked.length = 0;
    expect((await failure(boundedFetch({}, { retry: true })(`${origin}/loop`, {}))).code).toBe("invalid_response");
    expect(asked).toEqual(["/loop"]);
  });

  test("ends at once with the caller's reason", async () => {
    const controller = new AbortController(), reason = { my: "reason" };
    const call = rejection(boundedFetch({ signal: controller.signal })(`${origin}/silent`, {}));
    controller.abort(reason);
    expect(await call).toBe(reason as never);
    expect(await rejection(boundedFetch({ signal: controller.signal })(origin, {}))).toBe(reason);
  });

  test("nobody there is no_network, with the system's word for it", async () => {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    const error = await failure(boundedFetch({ correlationId: "id" })(`http://127.0.0.1:${port}/`, {}));
    expect(error).toMatchObject({ code: "no_network", correlationId: "id" });
    expect(error.message).toMatch(/^Cannot reach 127\.0\.0\.1:\d+( \(\w+\))?$/);
  });

  test("a fetch's own error gets the id that the request was sent with, and keeps what it has", async () => {
    const given = new LatchkeyError("configuration", "The proxy wants a password", { remedy: "Set HTTPS_PROXY" });
    const fetch = () => Promise.reject(given);
    const error = await failure(boundedFetch({ fetch, correlationId: "id" })(origin, {}));
    expect(error).toMatchObject({
      ...{ code: "configuration", message: given.message, hint: given.hint, correlationId: "id" },
    });
    const other = new LatchkeyError("no_network", "It is away", { correlationId: "other" });
    const kept = boundedFetch({ fetch: () => Promise.reject(other), correlationId: "id" })(origin, {});
    expect(await rejection(kept)).toBe(other);
  });

  test("delay() waits, and no longer than its signal", async () => {
    await delay(1, undefined);
    await delay(1, new AbortController().signal);
    const controller = new AbortController(), waiting = rejection(delay(600_000, controller.signal));
    controller.abort("over");
    expect(await waiting).toBe("over" as never);
    expect(await rejection(delay(1, controller.signal))).toBe("over");
  });
});
