// Asks a cluster for its version by one of the two clients for Java: Ask official|fabric8 KUBECONFIG. For each line of standard
// input it prints what the cluster answers, or why there is no answer.
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.apis.VersionApi;
import io.kubernetes.client.util.ClientBuilder;
import io.kubernetes.client.util.KubeConfig;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileReader;
import java.io.InputStreamReader;
import java.util.concurrent.Callable;

public class Ask {
  public static void main(String[] arguments) throws Exception {
    Callable<String> ask = arguments[0].equals("official") ? official(arguments[1]) : fabric8(arguments[1]);
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    while (input.readLine() != null) {
      try {
        System.out.println(ask.call());
      } catch (Exception error) {
        System.out.println(String.valueOf(error).replace('\n', ' '));
      }
    }
    System.exit(0);
  }

  static Callable<String> official(String path) throws Exception {
    KubeConfig config = KubeConfig.loadKubeConfig(new FileReader(path));
    config.setFile(new File(path));
    ApiClient client = ClientBuilder.kubeconfig(config).build();
    return () -> new VersionApi(client).getCode().execute().getGitVersion();
  }

  static Callable<String> fabric8(String path) throws Exception {
    io.fabric8.kubernetes.client.Config config =
        io.fabric8.kubernetes.client.Config.fromKubeconfig(new File(path));
    KubernetesClient client = new KubernetesClientBuilder().withConfig(config).build();
    return () -> client.getKubernetesVersion().getGitVersion();
  }
}
