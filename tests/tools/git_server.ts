/** A server of git's over HTTP: Git's own `http-backend` behind a door that wants what the test says. */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The server. */
export interface GitServer extends AsyncDisposable {
  /** Host and port, as git's protocol has them. */
  readonly host: string;
  /** Address of a repository that can be cloned and pushed to. */
  readonly url: string;
  /** The `Authorization` headers that it got so far. */
  readonly authorizations: readonly string[];
}

/** What it lets in. */
export interface GitServerOptions {
  /** Whether a header is good; `undefined`: there was none. */
  accepts(authorization: string | undefined): boolean;
  /** Values of `WWW-Authenticate`. */
  readonly challenges: readonly string[];
}

/** Starts a server with one repository, which has one commit. */
export function startGitServer({ accepts, challenges }: GitServerOptions): GitServer {
  const folder = mkdtempSync(join(tmpdir(), "git-server-")), authorizations: string[] = [];
  makeRepository(folder);
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const authorization = request.headers.get("authorization") ?? undefined;
      if (authorization !== undefined) authorizations.push(authorization);
      if (accepts(authorization)) return await answerByBackend(request, folder);
      const headers = new Headers();
      for (const challenge of challenges) headers.append("www-authenticate", challenge);
      return new Response("who are you?", { status: 401, headers });
    },
  });
  const host = `127.0.0.1:${server.port}`;
  return {
    host,
    url: `http://${host}/sample.git`,
    authorizations,
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      rmSync(folder, { recursive: true });
    },
  };
}

function makeRepository(folder: string): void {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: folder, env: OWN_GIT_ENVIRONMENT });
  git("init", "--quiet", "--bare", "--initial-branch=main", "sample.git");
  const tree = git("-C", "sample.git", "mktree").toString().trim();
  const commit = git("-C", "sample.git", "commit-tree", "-m", "Begin", tree).toString().trim();
  git("-C", "sample.git", "update-ref", "refs/heads/main", commit);
  git("-C", "sample.git", "config", "http.receivepack", "true");
}

/** What git needs to be the same on every machine: no configuration, and somebody to commit as. */
export const OWN_GIT_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: process.env.PATH ?? "",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Jane Doe",
  GIT_AUTHOR_EMAIL: "jane@contoso.com",
  GIT_COMMITTER_NAME: "Jane Doe",
  GIT_COMMITTER_EMAIL: "jane@contoso.com",
};

/** The backend speaks CGI (RFC 3875). */
async function answerByBackend(request: Request, folder: string): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const backend = spawn("git", ["http-backend"], {
    env: {
      ...OWN_GIT_ENVIRONMENT,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      REQUEST_METHOD: request.method,
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      CONTENT_TYPE: request.headers.get("content-type") ?? "",
      HTTP_CONTENT_ENCODING: request.headers.get("content-encoding") ?? "",
      GIT_PROTOCOL: request.headers.get("git-protocol") ?? "",
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  backend.stdin.end(new Uint8Array(await request.arrayBuffer()));
  const output = Buffer.concat(await Array.fromAsync(backend.stdout)), end = output.indexOf("\r\n\r\n");
  const lines = output.subarray(0, end).toString().split("\r\n").map((line) => line.split(": ") as [string, string]);
  const { Status: status = "200", ...headers } = Object.fromEntries(lines);
  return new Response(output.subarray(end + 4), { status: Number(status.slice(0, 3)), headers });
}
