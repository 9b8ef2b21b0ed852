/** A real PostgreSQL, whose people prove who they are by a password that they send as it is, as Azure Database's do. */
import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Readable } from "node:stream";

/** The server. */
export interface Postgres extends AsyncDisposable {
  /** What psql needs to find it: `PGHOST` and `PGPORT`, on the machine itself. */
  readonly env: Readonly<Record<string, string>>;
  /** Lets somebody in by a password. */
  addPerson(name: string, password: string): void;
}

/** Debian has a folder a version, and none of it in the path. */
const DEBIAN = "/usr/lib/postgresql";
const PORT = "5432"; // the name of a socket in a folder of its own: no port is taken

/** Starts a server. It runs as another user when the test runs as root, as it refuses to. */
export async function startPostgres(): Promise<Postgres> {
  const programs = programFolder(), folder = mkdtempSync(join(tmpdir(), "postgres-")), user = unprivilegedUser();
  const data = join(folder, "data"), env = { PATH: process.env.PATH, LC_ALL: "C" };
  if (user) chownSync(folder, user.uid, user.gid);
  const options = ["--no-sync", "--auth-local=trust", "--username=admin", "--encoding=UTF8", "--no-instructions"];
  execFileSync(join(programs, "initdb"), [...options, data], { env, stdio: ["ignore", "ignore", "pipe"], ...user });
  writeFileSync(join(data, "pg_hba.conf"), "local all admin trust\nlocal all all password\n");
  const settings = [`unix_socket_directories=${folder}`, "listen_addresses=", "fsync=off", "shared_buffers=1MB"];
  const server = spawn(
    join(programs, "postgres"),
    ["-D", data, "-p", PORT, ...settings.flatMap((setting) => ["-c", setting])],
    { env, stdio: ["ignore", "ignore", "pipe"], ...user },
  );
  const ended = new Promise((resolve) => server.on("exit", resolve));
  await ready(server.stderr);
  const socket = { PGHOST: folder, PGPORT: PORT };
  return {
    env: { ...socket, PGDATABASE: "postgres" },
    addPerson(name, password) {
      const quoted = `CREATE ROLE "${name}" LOGIN PASSWORD '${password}'`;
      execFileSync("psql", ["--no-psqlrc", "--quiet", "--username=admin", "--dbname=postgres"], {
        env: { ...env, ...socket },
        input: quoted,
      });
    },
    async [Symbol.asyncDispose]() {
      server.kill("SIGINT"); // lets nobody finish
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

/** Waits until it says that it serves; what it says after that nobody needs. */
async function ready(log: Readable): Promise<void> {
  let text = "";
  for await (const chunk of log.iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (text.includes("ready to accept connections")) return void log.resume();
  }
  throw new Error(`PostgreSQL did not start: ${text}`);
}

function programFolder(): string {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => join(DEBIAN, version, "bin")) : [];
  const folders = [...versions, ...(process.env.PATH ?? "").split(delimiter)];
  const found = folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
  if (!found) throw new Error("PostgreSQL is missing: run npm test");
  return found;
}

/** Somebody who is not root; the packages make a user for it. */
function unprivilegedUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (option: string) => Number(execFileSync("id", [option, "postgres"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}
