/**
 * Certificates of the authorities that this machine trusts, for where the runtime did not know who issued one.
 *
 * Deno needs `--allow-read` for the file, and `--allow-env` for the variable that names it; what it does not permit is
 * left out.
 *
 * @module
 */
import { denoNamespace, operatingSystem } from "./host.ts";
import { isPermitted } from "./permission.ts";
import type { Variable } from "./proxy.ts";

/** Variables that name a file, as OpenSSL, Node and Deno have them. */
const FILE_VARIABLES = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "DENO_CERT"];
/** Where distributions have all in one file: Debian and Arch, Fedora and RHEL, openSUSE, Alpine and the BSDs. */
const USUAL_FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/**
 * The certificates that the environment names (`SSL_CERT_FILE`, `SSL_CERT_DIR`, `NODE_EXTRA_CA_CERTS`, `DENO_CERT`), and those
 * of the system's own store.
 *
 * @param variable Reads the environment.
 * @returns The certificates as PEM, each once.
 */
export async function trustedCertificates(variable: Variable): Promise<readonly string[]> {
  const files = FILE_VARIABLES.map(variable).filter((path) => path !== undefined);
  const folders = variable("SSL_CERT_DIR")?.split(operatingSystem() === "win32" ? ";" : ":") ?? [];
  const texts = await Promise.all([
    ...files.map(readText),
    ...folders.map(readFolder),
    systemStore(),
  ]);
  return [...new Set(texts.join("\n").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g))];
}

async function systemStore(): Promise<string> {
  if (["darwin", "win32"].includes(operatingSystem())) return await ownStore();
  for (const path of USUAL_FILES) {
    const text = await readText(path);
    if (text) return text;
  }
  return "";
}

/** macOS and Windows have no file. Deno 2.6 cannot be asked for theirs, and later ones want `--allow-sys`. */
async function ownStore(): Promise<string> {
  try {
    const { getCACertificates } = await import("node:tls");
    return getCACertificates?.("system").join("\n") ?? "";
  } catch {
    return ""; // Deno does not permit it
  }
}

async function readFolder(folder: string): Promise<string> {
  if (!isPermitted({ name: "read", path: folder })) return "";
  const { readdir } = await import("node:fs/promises");
  const names = await readdir(folder).catch(() => []);
  const files = names.filter((name) => /\.(pem|crt|cer|\d+)$/.test(name));
  return (await Promise.all(files.map((name) => readText(`${folder}/${name}`)))).join("\n");
}

async function readText(path: string): Promise<string> {
  if (!isPermitted({ name: "read", path })) return "";
  try {
    const deno = denoNamespace();
    return await (deno ? deno.readTextFile(path) : (await import("node:fs/promises")).readFile(path, "utf8"));
  } catch {
    return ""; // the next place may have it
  }
}
