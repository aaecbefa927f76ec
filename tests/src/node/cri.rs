//! What kubelet asks of a node: pull an image, run it, tell how it ended.

use hsm_sim::Process;
use tonic::Status;
use tonic::transport::Channel;

use super::Node;
use crate::eventually;

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)] // generated
mod generated {
    tonic::include_proto!("runtime.v1");
}

pub use generated::PodSandboxConfig;
use generated::image_service_client::ImageServiceClient;
use generated::runtime_service_client::RuntimeServiceClient;
use generated::*;

/// How a container ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Exited {
    /// Its exit code.
    pub code: i32,
    /// The lines it wrote, to either of its outputs.
    pub said: String,
}

impl Node {
    /// Pulls an image; gives its id. It is given up when this is dropped.
    pub fn pull(&self, image: &str) -> impl Future<Output = Result<String, Status>> + use<> {
        let (mut images, request) = (self.images(), PullImageRequest { image: spec(image) });
        async move { Ok(images.pull_image(request).await?.into_inner().image_ref) }
    }

    /// Whether it has an image.
    pub async fn has(&self, image: &str) -> bool {
        let request = ImageStatusRequest { image: spec(image) };
        self.images().image_status(request).await.expect("an answer").into_inner().image.is_some()
    }

    /// Runs a command in a container of an image that it has, to its end.
    pub async fn run(&self, image: &str, command: &[&str]) -> Exited {
        let (pod, config) = self.pod.get_or_init(|| self.new_pod()).await;
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let name = format!("c{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let container = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.clone() }),
            image: spec(image),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            log_path: name.clone(),
            linux: Some(LinuxContainerConfig {
                security_context: Some(LinuxContainerSecurityContext { namespace_options: namespaces() }),
            }),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.clone(),
            config: Some(container),
            sandbox_config: Some(config.clone()),
        };
        let mut runtime = self.runtime();
        let created = runtime.create_container(request).await.expect("a container");
        let id = created.into_inner().container_id;
        let request = StartContainerRequest { container_id: id.clone() };
        runtime.start_container(request).await.expect("a started container");
        let mut code = None;
        eventually("the container ends", async || {
            let request = ContainerStatusRequest { container_id: id.clone() };
            let status = self.runtime().container_status(request).await.expect("an answer").into_inner();
            let status = status.status.expect("a status");
            code = Some(status.exit_code);
            status.state() == ContainerState::ContainerExited
        })
        .await;
        let log = std::fs::read_to_string(self.dir.join("logs").join(name)).expect("a log");
        Exited { code: code.expect("a status"), said: log.lines().map(said).collect() }
    }

    /// On the machine's network: no plugin for networks is needed.
    async fn new_pod(&self) -> (String, PodSandboxConfig) {
        let logs = self.dir.join("logs");
        std::fs::create_dir(&logs).expect("a directory");
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "pod".into(),
                uid: "pod".into(),
                namespace: "holdfast".into(),
            }),
            log_directory: logs.display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup().into(),
                security_context: Some(LinuxSandboxSecurityContext { namespace_options: namespaces() }),
            }),
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let pod = self.runtime().run_pod_sandbox(request).await.expect("a pod");
        (pod.into_inner().pod_sandbox_id, config)
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone())
    }

    fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone())
    }
}

/// Waits until both services answer: the socket is there before the plugins are.
pub(super) async fn answers(channel: &Channel, containerd: &Process) {
    eventually("containerd's CRI plugin answers", async || {
        let version = RuntimeServiceClient::new(channel.clone()).version(VersionRequest {}).await;
        let request = ImageStatusRequest { image: spec("none") };
        let images = ImageServiceClient::new(channel.clone()).image_status(request).await;
        let log = containerd.stderr_text();
        assert!(!log.contains("failed to load plugin io.containerd.grpc.v1.cri"), "{log}");
        version.is_ok() && images.is_ok()
    })
    .await;
}

fn spec(image: &str) -> Option<ImageSpec> {
    Some(ImageSpec { image: image.into() })
}

fn namespaces() -> Option<NamespaceOption> {
    let (network, pid) = (NamespaceMode::Node.into(), NamespaceMode::Container.into());
    Some(NamespaceOption { network, pid })
}

/// A line of a container's log: time, output, whether it is whole, and what was written.
fn said(line: &str) -> String {
    format!("{}\n", line.splitn(4, ' ').nth(3).unwrap_or_default())
}
